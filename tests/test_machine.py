"""Step 08 on the wire: a machine proves itself, and the door does not change (OAuth 2.1 §4.2, RFC 7523 §3)."""

import json
import time
from collections.abc import Iterator
from urllib.parse import quote_plus, unquote_plus

import anyio
import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from mcp import Client
from mcp.client.auth import OAuthFlowError
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthToken

from attacks.machines import (
    OURS,
    THEIRS,
    ask_for_itself,
    ask_with,
    assertion,
    basic,
    basic_as_written,
    claims_of,
    forged,
    key,
    machine_with,
    public_key,
)
from attacks.world import MACHINE
from shared.addresses import NEIGHBOUR
from shared.stop import Stop
from tests.processes import free_ports, listening, started, until
from tests.test_client import AS_URL, METADATA, PRM, PRM_PATH, Net
from tests.world import CALLBACK, ISSUER, RESOURCE, VERIFIER, World
from tools.catalogue import step_named

pytestmark = [pytest.mark.since("08"), pytest.mark.wire]

WAYS = ("client_secret_basic", "client_secret_post", "private_key_jwt")
ALL_SCOPES = (
    "mcp:tools:sentiment mcp:resources:customer-data:read mcp:exec:workflows:rebalance mcp:resources:customer-data"
)
REBALANCE = "mcp:exec:workflows:rebalance"
BASIC_FAILED = 'Basic realm="token"'
A_YEAR = 365 * 24 * 3600  # seconds
way = pytest.mark.parametrize("method", WAYS)


def refused(answer: httpx2.Response, error: str, status: int = 400, challenge: str | None = None) -> None:
    found = (answer.status_code, answer.json()["error"], answer.headers.get("www-authenticate"))
    assert found == (status, error, challenge), answer.text
    assert set(answer.json()) == {"error", "error_description"}
    assert answer.headers["cache-control"] == "no-store"


def a_stranger(answer: httpx2.Response, challenge: str | None = None) -> None:
    """Nobody learns why: an unknown name, a wrong secret and a bad signature read the same."""
    refused(answer, "invalid_client", 401, challenge)
    assert answer.json()["error_description"] == "client authentication failed"


def machine(world: World, method: str = "client_secret_post", **changes: object) -> dict:
    keys = {"jwks": {"keys": [public_key(OURS)]}} if method == "private_key_jwt" else {}
    return world.register_machine(token_endpoint_auth_method=method, **keys, **changes)


def ask(world: World, client: dict, **form: object) -> httpx2.Response:
    """Ask for a token, and prove it in the way that was registered."""
    if client["token_endpoint_auth_method"] == "private_key_jwt":
        return ask_with(world, assertion(world, client["client_id"]), **form)
    if client["token_endpoint_auth_method"] == "client_secret_basic":
        return ask_for_itself(world, basic(client["client_id"], client["client_secret"]), **form)
    return ask_for_itself(world, **{name: client[name] for name in ("client_id", "client_secret")} | form)


# ── a token, and what it opens ────────────────────────────────────────────────


@way
def test_a_machine_gets_a_token_and_nothing_to_refresh_it_with(world: World, method: str) -> None:
    answer = ask(world, machine(world, method))
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    tokens = answer.json()
    assert set(tokens) == {"access_token", "token_type", "expires_in", "scope"}
    assert (tokens["token_type"], tokens["expires_in"], tokens["scope"]) == ("Bearer", 600, ALL_SCOPES)


@way
def test_the_token_is_the_machines_own(world: World, method: str) -> None:
    client = machine(world, method, scope="mcp:tools:sentiment")
    token = ask(world, client).json()["access_token"]
    assert jwt.get_unverified_header(token)["typ"] == "at+jwt"
    claims = jwt.decode(token, world.signing_key.public_key(), ["RS256"], audience=RESOURCE, issuer=ISSUER)
    assert len(claims.pop("jti")) >= 22, "128 random bits or more"
    assert claims.pop("exp") - claims.pop("iat") == 600
    assert claims == {
        "iss": ISSUER,
        "aud": RESOURCE,
        "sub": client["client_id"],
        "client_id": client["client_id"],
        "scope": "mcp:tools:sentiment",
    }


@way
def test_the_token_opens_the_same_door_as_a_persons(world: World, method: str) -> None:
    token = ask(world, machine(world, method, scope="mcp:tools:sentiment")).json()["access_token"]
    answer = world.call(token, "score_headline", headline="ACME profit beats forecasts, shares soar")
    assert answer.status_code == 200 and '"text":"1.0"' in answer.text.replace(" ", "")
    beyond = world.read(token, "customers://c-1")
    assert (beyond.status_code, 'error="insufficient_scope"' in beyond.headers["www-authenticate"]) == (403, True)


@pytest.mark.parametrize("name", ["mcp_server.py", "bearer.py", "scopes.py"])
def test_the_mcp_server_has_not_changed_by_one_byte(name: str) -> None:
    before, now = (step_named(number).path / name for number in ("07", "08"))
    assert before.read_bytes() == now.read_bytes()


def test_two_machines_are_two_and_neither_is_a_person(world: World) -> None:
    subjects = set()
    for client in (machine(world), machine(world)):
        token = ask(world, client).json()["access_token"]
        subjects.add(jwt.decode(token, options={"verify_signature": False})["sub"])
    assert len(subjects) == 2
    assert world.people and not subjects & world.people
    assert all(len(subject) >= 22 for subject in subjects), "nobody chooses it, so nobody can choose a person's name"


def test_a_machine_does_not_choose_its_name(world: World) -> None:
    assert machine(world, client_id="alice")["client_id"] != "alice"
    client = machine(world)
    token = ask(world, client, subject="alice", sub="alice", username="alice").json()["access_token"]
    assert jwt.decode(token, options={"verify_signature": False})["sub"] == client["client_id"]


def test_a_machine_may_ask_for_less_than_it_registered(world: World) -> None:
    client = machine(world)
    assert ask(world, client, scope="mcp:tools:sentiment").json()["scope"] == "mcp:tools:sentiment"
    assert ask(world, client, scope="").json()["scope"] == ALL_SCOPES, "an empty value is none"


def test_a_token_for_the_neighbour_does_not_open_our_door(world: World) -> None:
    token = ask(world, machine(world), resource=NEIGHBOUR).json()["access_token"]
    assert world.list_tools(f"Bearer {token}").status_code == 401


# ── what is not given ─────────────────────────────────────────────────────────


@way
@pytest.mark.parametrize(
    "resource", [None, "", RESOURCE + "/", "http://evil.example/mcp", [RESOURCE, NEIGHBOUR], [RESOURCE, RESOURCE]]
)
def test_a_machine_says_for_whose_door_and_for_one_only(world: World, method: str, resource: object) -> None:
    client = machine(world, method)
    refused(ask(world, client, resource=resource), "invalid_target")
    assert ask(world, client).status_code == 200


@pytest.mark.parametrize("scope", [REBALANCE, f"mcp:tools:sentiment {REBALANCE}", "admin", "mcp:tools", " ", "é"])
def test_what_was_not_registered_is_not_given(world: World, scope: str) -> None:
    client = machine(world, scope="mcp:tools:sentiment mcp:resources:customer-data:read")
    refused(ask(world, client, scope=scope), "invalid_scope")


def test_a_machine_without_any_scope_gets_no_token(world: World) -> None:
    refused(ask(world, machine(world, scope="openid")), "invalid_scope")


@pytest.mark.parametrize("grant_type", ["authorization_code", "refresh_token"])
def test_a_machine_does_not_act_for_people(world: World, grant_type: str) -> None:
    client = machine(world)
    code = world.code(world.register()["client_id"])
    stolen = {"code": code, "code_verifier": VERIFIER, "refresh_token": "x"}
    refused(ask(world, client, grant_type=grant_type, **stolen), "unauthorized_client")


def test_nobody_is_sent_to_a_person_for_a_machine(world: World) -> None:
    answer = world.auth.get("/authorize", params=world.ask(machine(world)["client_id"], redirect_uri=CALLBACK))
    assert (answer.status_code, "location" in answer.headers) == (400, False)
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("method", ["none", "client_secret_post", "client_secret_basic"])
def test_a_program_with_a_person_does_not_act_for_itself(world: World, method: str) -> None:
    client = world.register(token_endpoint_auth_method=method)
    if method == "none":
        refused(ask_for_itself(world, client_id=client["client_id"]), "unauthorized_client")
    else:
        refused(ask(world, client), "unauthorized_client")


# ── secrets ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("secret", ["wrong", "", "é", None])
def test_a_wrong_secret_in_the_form(world: World, secret: str | None) -> None:
    client = machine(world)
    a_stranger(ask(world, client, client_secret=secret))
    a_stranger(ask(world, client, client_id="nobody", client_secret=secret or "x"))
    assert ask(world, client).status_code == 200


@pytest.mark.parametrize(
    "pair",
    [
        "{name}:wrong",
        "{name}:",
        "nobody:{secret}",
        "{secret}:{name}",
        "{name}:{secret}:",
        "{name}:{secret}+",
        "{name}:{secret}%00",
        "{name}%3A{secret}",
        "{name}:é",
        "{name}:%C3%A9",
        "{name}:%ff",
        "{name}",
        ":",
    ],
)
def test_a_wrong_pair_is_told_that_it_was_basic_that_failed(world: World, pair: str) -> None:
    client = machine(world, "client_secret_basic")
    said = pair.format(name=client["client_id"], secret=client["client_secret"])
    a_stranger(ask_for_itself(world, basic_as_written(said)), BASIC_FAILED)
    assert ask(world, client).status_code == 200


@pytest.mark.parametrize(
    "header",
    ["", "Basic", "Basic ", "Basic !", "Basic Og", "Basic /w==", "Basic {both}!", b"Basic \xff", "Basic {both}{both}"]
    + ["Bearer {both}", "Bearer {secret}", "Digest {both}", "{both}"],
)
def test_what_is_no_basic_proves_nothing(world: World, header: str | bytes) -> None:
    client = machine(world, "client_secret_basic")
    both = basic(client["client_id"], client["client_secret"])["Authorization"].split()[1]
    said = header if isinstance(header, bytes) else header.format(both=both, secret=client["client_secret"])
    a_stranger(ask_for_itself(world, {"Authorization": said}), BASIC_FAILED)
    assert ask_for_itself(world, {"Authorization": f"Basic {both}"}).status_code == 200


@pytest.mark.parametrize("secret", ["plain", "a:b", "100%", "%41", "a+b", "two words", "naïve é", "=&;"])
def test_a_secret_may_have_any_letter_because_both_parts_are_encoded_first(world: World, secret: str) -> None:
    """An operator chose this name and this secret: form-encoded, joined, then base64 (RFC 6749 §2.3.1)."""
    client = machine(world, "client_secret_basic") | {"client_id": "sales:eu é", "client_secret": secret}
    world.keep_client(client)
    assert ask(world, client).status_code == 200
    as_it_is = ask_for_itself(world, basic_as_written(f"{quote_plus(client['client_id'])}:{secret}"))
    if ":" in secret or unquote_plus(secret) != secret:
        a_stranger(as_it_is, BASIC_FAILED)


def test_basic_in_other_words_is_still_basic(world: World) -> None:
    client = machine(world, "client_secret_basic")
    both = [client["client_id"], client["client_secret"]]
    encoded = ":".join("".join(f"%{byte:02x}" for byte in part.encode()) for part in both)
    assert ask_for_itself(world, basic_as_written(encoded)).status_code == 200
    plain = basic(*both)["Authorization"]
    assert ask_for_itself(world, {"Authorization": plain.replace("Basic", "bAsIc")}).status_code == 200
    assert ask(world, client, client_id=client["client_id"]).status_code == 200, "said twice, and the same"
    a_stranger(ask(world, client, client_id=machine(world)["client_id"]), BASIC_FAILED)


@pytest.mark.parametrize("registered", WAYS)
@way
def test_only_the_way_that_was_registered_will_do(world: World, registered: str, method: str) -> None:
    client = {"client_secret": "a secret"} | machine(world, registered)
    answer = ask(world, client | {"token_endpoint_auth_method": method})
    if method == registered:
        assert answer.status_code == 200
    else:
        a_stranger(answer, BASIC_FAILED if method == "client_secret_basic" else None)


@way
@pytest.mark.parametrize("more", WAYS)
def test_two_ways_at_once_are_one_too_many(world: World, method: str, more: str) -> None:
    """Even if one of them is right: nobody should have to ask which one counted."""
    client = {"client_secret": "a secret"} | machine(world, method)
    proofs = {
        "client_secret_basic": {"headers": basic(client["client_id"], client["client_secret"])},
        "client_secret_post": {"client_id": client["client_id"], "client_secret": client["client_secret"]},
        "private_key_jwt": {"client_assertion": assertion(world, client["client_id"])},
    }
    if method != more:
        refused(ask_for_itself(world, **proofs[method] | proofs[more]), "invalid_request")


def test_two_authorization_headers_are_one_too_many(world: World) -> None:
    client = machine(world, "client_secret_basic")
    right = basic(client["client_id"], client["client_secret"])["Authorization"]
    form = {"grant_type": "client_credentials", "resource": RESOURCE}
    for pair in ((right, "Basic eDp5"), ("Basic eDp5", right), (right, right)):
        answer = world.auth.post("/token", data=form, headers=[("Authorization", value) for value in pair])
        refused(answer, "invalid_request")


@way
def test_a_name_alone_proves_nothing(world: World, method: str) -> None:
    a_stranger(ask_for_itself(world, client_id=machine(world, method)["client_id"]))


def test_a_secret_in_the_url_is_not_read(world: World) -> None:
    client = machine(world)
    proof = {name: client[name] for name in ("client_id", "client_secret")}
    form = {"grant_type": "client_credentials", "resource": RESOURCE}
    a_stranger(world.auth.post("/token", params=proof, data=form))
    a_stranger(world.auth.post("/token", params=proof, data=form | {"client_id": client["client_id"]}))


# ── assertions ────────────────────────────────────────────────────────────────


def test_an_assertion_works_once(world: World) -> None:
    client_id = machine_with(world)
    proof = assertion(world, client_id)
    assert ask_with(world, proof).status_code == 200
    a_stranger(ask_with(world, proof))
    assert ask_with(world, assertion(world, client_id)).status_code == 200


def test_the_number_of_an_assertion_is_remembered_for_as_long_as_it_is_good(world: World) -> None:
    client_id, other = machine_with(world), machine_with(world, THEIRS)
    lasting = assertion(world, client_id, jti="a number", exp=int(time.time()) + 300)
    assert ask_with(world, lasting).status_code == 200
    world.clock.ahead += 250
    ask_with(world, assertion(world, client_id)).raise_for_status()  # the old ones are forgotten on the way
    a_stranger(ask_with(world, lasting))
    a_stranger(ask_with(world, assertion(world, client_id, jti="a number")))
    assert ask_with(world, assertion(world, other, THEIRS, jti="a number")).status_code == 200, "each its own numbers"
    world.clock.ahead += 60
    world.forget()
    a_stranger(ask_with(world, lasting))
    assert ask_with(world, assertion(world, client_id, jti="a number")).status_code == 200


def test_a_refused_assertion_uses_up_no_number(world: World) -> None:
    client_id = machine_with(world)
    a_stranger(ask_with(world, assertion(world, client_id, signer=THEIRS, kid=OURS, jti="a number")))
    assert ask_with(world, assertion(world, client_id, jti="a number")).status_code == 200


def test_an_assertion_is_used_up_even_if_the_rest_is_refused(world: World) -> None:
    proof = assertion(world, machine_with(world))
    refused(ask_with(world, proof, resource="https://other.example"), "invalid_target")
    a_stranger(ask_with(world, proof))


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": f"{ISSUER}/token"},
        {"aud": [ISSUER, f"{ISSUER}/token"]},
        {"aud": [ISSUER, ISSUER]},
        {"aud": f"{ISSUER}/"},
        {"aud": ISSUER.upper()},
        {"aud": RESOURCE},
        {"aud": []},
        {"aud": ""},
        {"aud": None},
        {"aud": {ISSUER: 1}},
        {"jti": None},
        {"jti": ""},
        {"jti": 5},
        {"jti": "x" * 101},
        {"jti": ["a number"]},
        {"iss": "somebody else"},
        {"iss": ISSUER},
        {"iss": None},
        {"sub": "somebody else"},
        {"sub": None},
        {"sub": 5},
        {"sub": ["a", "b"]},
    ],
)
def test_an_assertion_says_who_for_whom_and_has_a_number(world: World, changes: dict) -> None:
    client_id = machine_with(world)
    a_stranger(ask_with(world, signed_as_it_stands(claims_of(world, client_id, **changes))))
    assert ask_with(world, signed_as_it_stands(claims_of(world, client_id))).status_code == 200


def signed_as_it_stands(claims: dict) -> str:
    """PyJWT itself will not write odd claims; an attacker would."""
    return jwt.PyJWS().encode(json.dumps(claims).encode(), key(OURS), "ES256", {"kid": OURS})


def test_the_audience_may_be_a_list_of_one(world: World) -> None:
    assert ask_with(world, assertion(world, machine_with(world), aud=[ISSUER])).status_code == 200


@pytest.mark.parametrize(
    ("issued", "expires", "good"),
    [
        (0, 60, True),
        (0, 300, True),
        (0, 325, True),
        (None, 60, True),
        (-290, 10, True),
        (25, 60, True),
        (0, None, False),
        (0, 0, False),
        (-60, -1, False),
        (-400, 60, False),
        (40, 90, False),
        (0, 340, False),
        (0, A_YEAR, False),
        (A_YEAR, A_YEAR + 60, False),
        (None, A_YEAR, False),
    ],
)
def test_an_assertion_lives_five_minutes_at_most(
    world: World, issued: int | None, expires: int | None, good: bool
) -> None:
    """Seconds from now. A proof that lives long is a password."""
    now = time.time()
    times = {"iat": None if issued is None else now + issued, "exp": None if expires is None else now + expires}
    answer = ask_with(world, signed_as_it_stands(claims_of(world, machine_with(world), **times)))
    if good:
        assert answer.status_code == 200, answer.text
    else:
        a_stranger(answer)


@pytest.mark.parametrize("odd", ["9999999999", "soon", [], {}, True, float("inf"), float("nan"), 10**400])
@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
def test_a_time_is_a_number(world: World, name: str, odd: object) -> None:
    claims = claims_of(world, machine_with(world)) | {name: odd}
    a_stranger(ask_with(world, signed_as_it_stands(claims)))


def test_an_assertion_that_begins_later_is_for_later(world: World) -> None:
    client_id, now = machine_with(world), int(time.time())
    a_stranger(ask_with(world, assertion(world, client_id, nbf=now + 40)))
    assert ask_with(world, assertion(world, client_id, nbf=now + 25)).status_code == 200, "two clocks may differ"


def test_only_the_machines_own_key_speaks_for_it(world: World) -> None:
    client_id, thief = machine_with(world), machine_with(world, THEIRS)
    a_stranger(ask_with(world, assertion(world, client_id, signer=THEIRS)))
    a_stranger(ask_with(world, assertion(world, client_id, signer=THEIRS, kid=OURS)))
    a_stranger(ask_with(world, assertion(world, thief, signer=THEIRS, sub=client_id)))
    a_stranger(ask_with(world, assertion(world, thief, signer=THEIRS, iss=client_id)))
    a_stranger(ask_with(world, assertion(world, client_id, kid="unknown")))
    own = {"kid": OURS, "jwk": public_key(THEIRS)}
    a_stranger(ask_with(world, jwt.encode(claims_of(world, client_id), key(THEIRS), "ES256", own)))
    assert ask_with(world, assertion(world, client_id)).status_code == 200


@pytest.mark.parametrize("algorithm", ["none", "nOnE", "", "RS256", "ES256", "ES384", "PS256"])
def test_an_assertion_without_a_signature_proves_nothing(world: World, algorithm: str) -> None:
    claims = claims_of(world, machine_with(world))
    a_stranger(ask_with(world, forged(claims, {"alg": algorithm, "kid": OURS})))
    a_stranger(ask_with(world, forged(claims, {"alg": algorithm})))


def test_a_public_key_is_not_a_shared_secret(world: World) -> None:
    claims = claims_of(world, machine_with(world))
    public = key(OURS).public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for mac_key in (pem, json.dumps(public_key(OURS)).encode(), OURS.encode()):
        a_stranger(ask_with(world, forged(claims, {"alg": "HS256", "kid": OURS}, mac_key)))


@pytest.mark.parametrize("proof", ["x", "a.b.c", "a.b", "é", "e30.e30.", "bnVsbA.bnVsbA.x", "W10.W10.x", "..."])
def test_what_is_no_jwt_proves_nothing(world: World, proof: str) -> None:
    a_stranger(ask_with(world, proof))


@pytest.mark.parametrize(
    "kind", [None, "", "foo", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer", "JWT-BEARER"]
)
def test_an_assertion_says_what_kind_it_is(world: World, kind: str | None) -> None:
    a_stranger(ask_with(world, assertion(world, machine_with(world)), client_assertion_type=kind))


def test_a_name_beside_the_assertion_is_the_same_name(world: World) -> None:
    client_id, other = machine_with(world), machine_with(world)
    assert ask_with(world, assertion(world, client_id), client_id=client_id).status_code == 200
    for wrong in (other, "nobody", "é"):
        a_stranger(ask_with(world, assertion(world, client_id), client_id=wrong))


def test_with_one_key_its_name_may_be_left_out_and_with_two_it_tells_which(world: World) -> None:
    client_id = machine_with(world)
    assert ask_with(world, jwt.encode(claims_of(world, client_id), key(OURS), "ES256")).status_code == 200
    both = {"keys": [public_key(OURS), public_key(THEIRS)]}
    client_id = world.register_machine(token_endpoint_auth_method="private_key_jwt", jwks=both)["client_id"]
    a_stranger(ask_with(world, jwt.encode(claims_of(world, client_id), key(THEIRS), "ES256")))
    for name in (OURS, THEIRS):
        assert ask_with(world, assertion(world, client_id, signer=name)).status_code == 200
    a_stranger(ask_with(world, assertion(world, client_id, signer=OURS, kid=THEIRS)))


def test_an_rsa_key_signs_rs256_and_nothing_else(world: World) -> None:
    rsa_key = world.signing_key
    jwks = {"keys": [rsa_public(rsa_key)]}
    client_id = world.register_machine(token_endpoint_auth_method="private_key_jwt", jwks=jwks)["client_id"]
    header = {"kid": "r-1"}
    assert ask_with(world, jwt.encode(claims_of(world, client_id), rsa_key, "RS256", header)).status_code == 200
    for algorithm in ("RS512", "PS256"):
        a_stranger(ask_with(world, jwt.encode(claims_of(world, client_id), rsa_key, algorithm, header)))
    a_stranger(ask_with(world, jwt.encode(claims_of(world, client_id), key(OURS), "ES256", header)))


def rsa_public(private: rsa.RSAPrivateKey) -> dict:
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    return {"kty": "RSA", "n": jwk["n"], "e": jwk["e"], "kid": "r-1", "alg": "RS256"}


def test_whoever_acts_for_a_person_may_prove_itself_with_a_key_too(world: World) -> None:
    keys = {"jwks": {"keys": [public_key(OURS)]}, "token_endpoint_auth_method": "private_key_jwt"}
    client_id = world.register(**keys)["client_id"]
    form = {"grant_type": "authorization_code", "code": world.code(client_id), "code_verifier": VERIFIER}
    a_stranger(ask_for_itself(world, client_id=client_id, **form))
    answer = ask_with(world, assertion(world, client_id), **form)
    assert answer.status_code == 200
    claims = jwt.decode(answer.json()["access_token"], options={"verify_signature": False})
    assert (claims["sub"], claims["client_id"]) == ("alice", client_id)


# ── registration ──────────────────────────────────────────────────────────────


def register(world: World, authorization: str | None, **changes: object) -> httpx2.Response:
    metadata = MACHINE | {"token_endpoint_auth_method": "client_secret_post"} | changes
    headers = {} if authorization is None else {"Authorization": authorization}
    return world.auth.post("/register", json=metadata, headers=headers)


def operators(world: World) -> str:
    return f"Bearer {world.initial_access_token()}"


def test_an_operator_registers_a_machine_and_sees_all_of_it(world: World) -> None:
    answer = register(world, operators(world), scope="mcp:tools:sentiment")
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    client = answer.json()
    assert len(client.pop("client_id")) >= 22 and len(client.pop("client_secret")) >= 43
    assert isinstance(client.pop("client_id_issued_at"), int)
    assert client == {
        "redirect_uris": [],
        "token_endpoint_auth_method": "client_secret_post",
        "grant_types": ["client_credentials"],
        "response_types": [],
        "application_type": "web",
        "client_name": "A machine",
        "scope": "mcp:tools:sentiment",
        "client_secret_expires_at": 0,
    }


def test_a_machine_with_a_key_has_no_secret(world: World) -> None:
    client = machine(world, "private_key_jwt")
    assert client["jwks"] == {"keys": [public_key(OURS)]}
    assert "client_secret" not in client


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
def test_the_operators_scheme_is_not_case_sensitive(world: World, scheme: str) -> None:
    assert register(world, operators(world).replace("Bearer", scheme)).status_code == 201


@pytest.mark.parametrize("authorization", ["Bearer wrong", "Bearer ", "Bearer", "Bearer é", "Basic eDp5", "x"])
@pytest.mark.parametrize(
    "changes", [{}, {"grant_types": ["authorization_code"], "redirect_uris": ["https://a.example"]}]
)
def test_a_wrong_initial_access_token_is_worse_than_none(world: World, authorization: str, changes: dict) -> None:
    answer = register(world, authorization.encode("latin-1"), **changes)
    refused(answer, "invalid_token", 401, 'Bearer realm="register", error="invalid_token"')


def test_the_operator_shows_one_token_and_not_two(world: World) -> None:
    right, wrong = f"Bearer {world.initial_access_token()}", "Bearer x"
    for pair in ((right, wrong), (wrong, right), (right, right)):
        answer = world.auth.post("/register", json={}, headers=[("Authorization", value) for value in pair])
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_almost_the_initial_access_token_is_wrong(world: World) -> None:
    right = operators(world)
    for almost in (right[:-1], right + "x", right + " ", right.replace(" ", "  "), f"{right} {right}"):
        if almost.strip() != right:
            assert register(world, almost).status_code == 401
    assert register(world, right).status_code == 201


@way
def test_nobody_registers_a_machine_without_the_operator(world: World, method: str) -> None:
    keys = {"jwks": {"keys": [public_key(OURS)]}} if method == "private_key_jwt" else {}
    answer = register(world, None, token_endpoint_auth_method=method, **keys)
    refused(answer, "invalid_client_metadata")
    body = world.auth.post("/register", json=MACHINE | {"by_the_operator": True})
    refused(body, "invalid_client_metadata")


@pytest.mark.parametrize(
    "mixed",
    [
        ["authorization_code", "client_credentials"],
        ["client_credentials", "authorization_code", "refresh_token"],
        ["client_credentials", "authorization_code"],
    ],
)
@pytest.mark.parametrize("by_the_operator", [False, True])
def test_a_mixed_list_makes_no_machine(world: World, mixed: list[str], by_the_operator: bool) -> None:
    authorization = operators(world) if by_the_operator else None
    native = {"application_type": "native", "redirect_uris": ["http://127.0.0.1/callback"]}
    client = register(world, authorization, grant_types=mixed, **native).raise_for_status().json()
    assert "client_credentials" not in client["grant_types"]
    refused(ask(world, client), "unauthorized_client")


@pytest.mark.parametrize("more", ["refresh_token", "client_credentials", "password"])
def test_what_a_machine_cannot_have_is_left_out_and_the_answer_shows_it(world: World, more: str) -> None:
    wanted = ["client_credentials", more]
    refused(register(world, None, grant_types=wanted), "invalid_client_metadata")
    client = register(world, operators(world), grant_types=wanted).raise_for_status().json()
    assert client["grant_types"] == ["client_credentials"]
    assert "refresh_token" not in ask(world, client).raise_for_status().json()


@pytest.mark.parametrize(
    "odd", ["client_credentials", {"client_credentials": 1}, [["client_credentials"]], [], None, 5]
)
def test_an_odd_list_of_grants_makes_nothing_at_all(world: World, odd: object) -> None:
    for authorization in (None, operators(world)):
        answer = register(world, authorization, grant_types=odd)
        assert answer.status_code == 400
        assert answer.json()["error"] in ("invalid_client_metadata", "invalid_redirect_uri")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"redirect_uris": ["https://machine.example/cb"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["http://127.0.0.1/cb"]}, "invalid_redirect_uri"),
        ({"redirect_uris": "https://machine.example/cb"}, "invalid_redirect_uri"),
        ({"token_endpoint_auth_method": "none"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "client_secret_jwt"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": None}, "invalid_client_metadata"),
        ({"client_name": "a\x00b"}, "invalid_client_metadata"),
        ({"scope": 5}, "invalid_client_metadata"),
        ({"jwks": {"keys": []}, "jwks_uri": "https://a.example/jwks"}, "invalid_client_metadata"),
    ],
)
def test_the_operator_follows_rules_too(world: World, changes: dict, error: str) -> None:
    refused(register(world, operators(world), **changes), error)


def without(name: str) -> dict:
    return {key: value for key, value in public_key(OURS).items() if key != name}


@pytest.mark.parametrize(
    "jwks",
    [
        None,
        [],
        "text",
        5,
        {},
        {"keys": []},
        {"keys": None},
        {"keys": {}},
        {"keys": [None]},
        {"keys": ["text"]},
        {"keys": [{}]},
        {"keys": [without("kid")]},
        {"keys": [without("alg")]},
        {"keys": [without("kty")]},
        {"keys": [without("x")]},
        {"keys": [public_key(OURS) | {"x": "AQAB"}]},
        {"keys": [public_key(OURS) | {"alg": "none"}]},
        {"keys": [public_key(OURS) | {"alg": "HS256"}]},
        {"keys": [public_key(OURS) | {"alg": "RS256"}]},
        {"keys": [public_key(OURS) | {"alg": "ES384"}]},
        {"keys": [public_key(OURS) | {"alg": ["ES256"]}]},
        {"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "k", "alg": "HS256"}]},
        {"keys": [public_key(OURS) | {"d": "AQAB"}]},
        {"keys": [public_key(OURS) | {"p": "AQAB"}]},
        {"keys": [public_key(OURS) | {"kid": None}]},
        {"keys": [public_key(OURS) | {"kid": ["k"]}]},
        {"keys": [public_key(OURS) | {"crv": 5}]},
        {"keys": [public_key(OURS), without("kid")]},
        {"keys": [public_key(OURS) | {"kid": f"k-{number}"} for number in range(6)]},
    ],
)
def test_keys_are_public_few_and_named(world: World, jwks: object) -> None:
    method = {"token_endpoint_auth_method": "private_key_jwt"}
    refused(register(world, operators(world), jwks=jwks, **method), "invalid_client_metadata")
    good = {"keys": [public_key(OURS) | {"kid": f"k-{number}"} for number in range(5)]}
    assert register(world, operators(world), jwks=good, **method).status_code == 201


def test_a_private_key_is_refused_and_does_not_come_back(world: World) -> None:
    private = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key(OURS))) | {"kid": OURS, "alg": "ES256"}
    answer = register(world, operators(world), jwks={"keys": [private]}, token_endpoint_auth_method="private_key_jwt")
    refused(answer, "invalid_client_metadata")
    assert private["d"] not in answer.text


def test_a_key_is_long_enough_and_only_its_public_members_are_kept(world: World) -> None:
    method = {"token_endpoint_auth_method": "private_key_jwt"}
    short = {"keys": [rsa_public(rsa.generate_private_key(public_exponent=65537, key_size=1024))]}
    refused(register(world, operators(world), jwks=short, **method), "invalid_client_metadata")
    more = {"keys": [public_key(OURS) | {"note": "hello", "x5u": "https://a.example"}]}
    client = register(world, operators(world), jwks=more, **method).json()
    assert client["jwks"] == {"keys": [public_key(OURS)]}


@pytest.mark.parametrize("uri", ["https://a.example/jwks", "http://169.254.169.254/", "http://localhost:22/"])
def test_keys_are_brought_and_never_fetched(world: World, uri: str) -> None:
    keys = {"jwks_uri": uri, "token_endpoint_auth_method": "private_key_jwt"}
    refused(register(world, operators(world), **keys), "invalid_client_metadata")


# ── the machine ───────────────────────────────────────────────────────────────


of_their_machine = pytest.mark.of_steps("it is their program; the finished client: tests/test_client_program.py")


@of_their_machine
@way
def test_what_machine_py_sends_is_what_the_server_asks(world: World, method: str) -> None:
    ours = world.loaded.module("machine")
    keys = {"jwks": {"keys": [ours.public_half()]}} if method == "private_key_jwt" else {}
    client = world.register_machine(token_endpoint_auth_method=method, **keys)
    headers, form = ours.METHODS[method](client)
    assert ask_for_itself(world, headers, **form).status_code == 200


@of_their_machine
def test_its_assertion_is_for_one_reader_for_a_minute_and_once(world: World) -> None:
    ours = world.loaded.module("machine")
    proofs = [ours.by_private_key({"client_id": "us"})[1]["client_assertion"] for _ in range(2)]
    headers = jwt.get_unverified_header(proofs[0])
    assert headers == {"alg": "RS256", "kid": "k-1", "typ": "client-authentication+jwt"}
    first, second = (jwt.decode(proof, ours.key.public_key(), ["RS256"], audience=ISSUER) for proof in proofs)
    assert first.pop("jti") != second.pop("jti")
    assert first.pop("exp") - first.pop("iat") == 60
    assert first == {"iss": "us", "sub": "us", "aud": ISSUER}


@of_their_machine
def test_its_basic_is_encoded_before_it_is_joined(world: World) -> None:
    ours = world.loaded.module("machine")
    headers, form = ours.by_basic({"client_id": "a:b é", "client_secret": "c+d%"})
    assert (headers, form) == (basic_as_written("a%3Ab+%C3%A9:c%2Bd%25"), {})


@of_their_machine
@pytest.mark.parametrize("issuer", ["https://evil.example", ISSUER + "/", ISSUER.upper(), "http://localhost:9001"])
def test_an_mcp_server_does_not_choose_who_gets_the_secret(
    world: World, monkeypatch: pytest.MonkeyPatch, issuer: str
) -> None:
    """ATK-127. Nothing is sent there: no secret, no assertion, not even a question."""
    net = Net().locked(f'Bearer resource_metadata="{PRM_PATH}"')
    net.at(PRM_PATH, PRM | {"authorization_servers": [issuer]})
    for path in ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"):
        evil = {"issuer": issuer, "token_endpoint": f"{issuer}/token", "registration_endpoint": f"{issuer}/register"}
        net.at(issuer + path, METADATA | evil)
    monkeypatch.setattr(httpx2, "Client", lambda **_: net.http)
    with pytest.raises(Stop, match="Our credentials are for http://localhost:9000 alone"):
        world.loaded.module("machine").main()
    assert net.asked == [RESOURCE, PRM_PATH]


@of_their_machine
def test_it_goes_on_with_the_issuer_that_it_knows(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    net = Net().locked(f'Bearer resource_metadata="{PRM_PATH}"').at(PRM_PATH, PRM).at(AS_URL, METADATA)
    net.at(f"{ISSUER}/register", {"error": "invalid_token"}, 401)
    monkeypatch.setattr(httpx2, "Client", lambda **_: net.http)
    with pytest.raises(Stop, match="does not register the machine: 401"):
        world.loaded.module("machine").main()
    assert net.asked == [RESOURCE, PRM_PATH, AS_URL, f"{ISSUER}/register"]


# ── the SDK's own machines, against real processes ────────────────────────────

OPERATORS = "only-the-operator"


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, str]]:
    """Step 08 as it is served: where the issuer and the resource are."""
    with started("serve", "08", INITIAL_ACCESS_TOKEN=OPERATORS, UPSTREAM_TOKEN="only-the-mcp-server"):
        assert until(lambda: {name.split()[0] for name in listening()} >= {"AS_PORT", "MCP_PORT", "UPSTREAM_PORT"})
        ports = free_ports()
        yield {
            "issuer": f"http://localhost:{ports['AS_PORT']}",
            "resource": f"http://localhost:{ports['MCP_PORT']}/mcp",
        }


class Kept:
    """Where the SDK keeps what it has."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> None:
        return None

    async def set_client_info(self, client_info: object) -> None:
        raise AssertionError("it is registered already")


def sdk_machine(servers: dict[str, str], method: str, issuer: str, kept: Kept) -> httpx2.Auth:
    """The SDK's class for this method, with credentials that the operator has arranged."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    keys = {"jwks": {"keys": [rsa_public(private)]}} if method == "private_key_jwt" else {}
    client = httpx2.post(
        f"{servers['issuer']}/register",
        json=MACHINE | {"token_endpoint_auth_method": method} | keys,
        headers={"Authorization": f"Bearer {OPERATORS}"},
    ).raise_for_status()
    client_id = client.json()["client_id"]
    if method != "private_key_jwt":
        secret = client.json()["client_secret"]
        return ClientCredentialsOAuthProvider(servers["resource"], kept, client_id, secret, method, issuer=issuer)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    signed = SignedJWTParameters(issuer=client_id, subject=client_id, signing_key=pem.decode())
    proofs = signed.create_assertion_provider()
    return PrivateKeyJWTOAuthProvider(servers["resource"], kept, client_id, proofs, issuer=issuer)


def visit(servers: dict[str, str], auth: httpx2.Auth, asked: list[str]) -> tuple[list[str], str, str]:
    async def note(request: httpx2.Request) -> None:
        asked.append(f"{request.method} {request.url}")

    async def look() -> tuple[list[str], str, str]:
        async with httpx2.AsyncClient(auth=auth, event_hooks={"request": [note]}) as http:
            async with Client(streamable_http_client(servers["resource"], http_client=http)) as mcp:
                tools = [tool.name for tool in (await mcp.list_tools()).tools]
                mood = await mcp.call_tool("score_headline", {"headline": "Fraud fears, shares slump"})
                who = await mcp.call_tool("whoami")
                return tools, mood.content[0].text, who.content[0].text

    return anyio.run(look)


@way
def test_the_sdks_machine_gets_in(servers: dict[str, str], method: str) -> None:
    asked: list[str] = []
    kept = Kept()
    auth = sdk_machine(servers, method, servers["issuer"], kept)
    tools, mood, who = visit(servers, auth, asked)
    assert tools[:3] == ["score_headline", "rebalance", "whoami"]
    assert mood == "-1.0"
    client_id = jwt.decode(kept.tokens.access_token, options={"verify_signature": False})["sub"]
    assert who.startswith(f"{client_id}, through client {client_id}")
    assert kept.tokens.refresh_token is None
    assert asked.count(f"POST {servers['issuer']}/token") == 1


@way
def test_the_sdks_machine_stops_where_another_issuer_is_named(servers: dict[str, str], method: str) -> None:
    asked: list[str] = []
    auth = sdk_machine(servers, method, "https://as.example", Kept())
    with pytest.raises((OAuthFlowError, ExceptionGroup)) as stopped:
        visit(servers, auth, asked)
    assert stopped.group_contains(OAuthFlowError) or stopped.type is OAuthFlowError
    assert not [request for request in asked if "/token" in request]
