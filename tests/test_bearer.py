"""Step 05 on the wire: which tokens open the door (RFC 9068 §4), and what the others are told."""

import asyncio
import functools
import json
import time
from collections.abc import Callable
from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from shared.addresses import NEIGHBOUR
from tests.test_resource_metadata import CHALLENGE, PRM
from tests.world import ISSUER, LIST_TOOLS, MCP_HEADERS, RESOURCE, World, raw_jwt, served

pytestmark = [pytest.mark.since("05"), pytest.mark.wire]
A_DAY = 86_400  # seconds: longer than all tests take, which are collected before the first of them runs

BAD_TOKEN = (
    'Bearer realm="mcp", error="invalid_token", '
    f'error_description="The access token is invalid or expired", resource_metadata="{PRM}"'
)


def refused(world: World, token: str) -> None:
    answer = world.list_tools(f"Bearer {token}")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, BAD_TOKEN)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.content == b""


def opens(world: World, token: str) -> bool:
    return world.list_tools(f"Bearer {token}").status_code == 200


# ── the header ────────────────────────────────────────────────────────────────


@pytest.mark.since("04")
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_not_case_sensitive(world: World, scheme: str) -> None:
    assert world.list_tools(f"{scheme} {world.access_token()}").status_code == 200


def test_more_than_one_space_is_still_one_token(world: World) -> None:
    assert world.list_tools(f"Bearer   {world.access_token()}").status_code == 200


@pytest.mark.since("04")
@pytest.mark.parametrize(
    "authorization", ["", "Basic YWxpY2U6d29uZGVybGFuZA==", "Negotiate abc", "token abc", "DPoP abc"]
)
def test_another_scheme_is_like_none(world: World, authorization: str) -> None:
    answer = world.list_tools(authorization)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, CHALLENGE)


@pytest.mark.parametrize("authorization", ["Bearer", "Bearer ", "Bearer a b", "Bearer a,b", 'Bearer "a"', "Bearer é"])
def test_a_malformed_header_is_a_bad_request(world: World, authorization: str) -> None:
    answer = world.list_tools(authorization.encode("latin-1"))
    assert answer.status_code == 400
    assert answer.headers["www-authenticate"] == (
        'Bearer realm="mcp", error="invalid_request", '
        f'error_description="After Bearer comes one token and nothing else", resource_metadata="{PRM}"'
    )


def test_two_authorization_headers_are_a_bad_request_in_either_order(world: World) -> None:
    good, bad = f"Bearer {world.access_token()}", "Bearer bad"
    for pair in ((good, bad), (bad, good), (good, good), ("Basic x", good)):
        answer = world.list_tools(*pair)
        assert answer.status_code == 400
        assert 'error="invalid_request"' in answer.headers["www-authenticate"]
    assert opens(world, good.split()[1])


def test_a_token_in_the_query_is_ignored(world: World) -> None:
    token = world.access_token()
    answer = world.mcp.post(f"/mcp?access_token={token}")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, CHALLENGE)
    assert world.list_tools(f"Bearer {token}", params={"access_token": "bad"}).status_code == 200


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_the_stateless_protocol_has_no_other_methods(world: World, method: str) -> None:
    headers = {"MCP-Protocol-Version": "2026-07-28", "Authorization": f"Bearer {world.access_token()}"}
    assert world.mcp.request(method, "/mcp", headers=headers).status_code == 405


# ── the token ─────────────────────────────────────────────────────────────────


def test_a_real_token_opens_the_door(world: World) -> None:
    assert opens(world, world.access_token())
    assert opens(world, world.signed(world.claims()))
    assert opens(world, world.signed(world.claims(aud=[RESOURCE])))


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt"])
def test_it_says_that_it_is_an_access_token(world: World, typ: str) -> None:
    assert opens(world, world.signed(world.claims(), typ=typ))


@pytest.mark.parametrize("typ", ["JWT", "", "dpop+jwt", "logout+jwt", "at", None])
def test_no_other_kind_of_token_will_do(world: World, typ: str | None) -> None:
    refused(world, world.signed(world.claims(), typ=typ))


@pytest.mark.parametrize(
    "audience",
    [
        "https://other.example/mcp",
        NEIGHBOUR,
        RESOURCE + "/",
        RESOURCE.upper(),
        "",
        [],
        None,
        [RESOURCE, NEIGHBOUR],
        5,
        {},
    ],
)
def test_a_token_for_another_door_stays_outside(world: World, audience: object) -> None:
    refused(world, world.signed(world.claims(aud=audience)))
    assert world.honest_flow_works()


@pytest.mark.parametrize("issuer", [ISSUER + "/", "https://evil.example", "", None, [ISSUER], "HTTP://localhost:9000"])
def test_another_issuer_is_not_believed(world: World, issuer: object) -> None:
    # PyJWT itself will not write an issuer that is no text, so such a payload is signed as it stands
    payload = json.dumps(world.claims(iss=issuer)).encode()
    header = {"typ": "at+jwt", "kid": world.key_id}
    refused(world, jwt.PyJWS().encode(payload, world.signing_key, "RS256", header))


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": int(time.time()) - A_DAY},
        {"exp": 0},
        {"exp": "9999999999"},
        {"exp": None},
        {"nbf": int(time.time()) + A_DAY},
        {"nbf": "0"},
        {"iat": int(time.time()) + A_DAY},
        {"iat": None},
        {"iat": "0"},
    ],
)
def test_a_token_has_its_time(world: World, changes: dict) -> None:
    payload = json.dumps(world.claims(**changes)).encode()
    header = {"typ": "at+jwt", "kid": world.key_id}
    refused(world, jwt.PyJWS().encode(payload, world.signing_key, "RS256", header))


@pytest.mark.parametrize("seconds", [-25, 25])
def test_two_clocks_may_differ_a_little(world: World, seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    now = int(time.time())
    monkeypatch.setattr(world.clock, "time", lambda: now)  # on a busy machine five seconds are soon over
    assert opens(world, world.signed(world.claims(iat=now + seconds, exp=now + seconds + (600 if seconds > 0 else 0))))


@pytest.mark.parametrize("name", ["sub", "client_id", "jti"])
@pytest.mark.parametrize("value", [None, "", 5, ["alice"], {}])
def test_every_required_claim_is_there_and_a_text(world: World, name: str, value: object) -> None:
    payload = json.dumps(world.claims(**{name: value})).encode()
    header = {"typ": "at+jwt", "kid": world.key_id}
    refused(world, jwt.PyJWS().encode(payload, world.signing_key, "RS256", header))


@pytest.mark.parametrize("scope", [None, 5, [], "", "a  b"])
def test_an_odd_scope_is_not_an_accident(world: World, scope: object) -> None:
    """The token is good, so it is no 401. Since scopes count, it just allows nothing."""
    answer = world.list_tools(f"Bearer {world.signed(world.claims(scope=scope))}")
    assert answer.status_code == (403 if world.number >= "06" else 200)


# ── the signature ─────────────────────────────────────────────────────────────


def test_a_forged_token_stays_outside(world: World) -> None:
    own_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    refused(world, world.signed(world.claims(), own_key))
    assert world.honest_flow_works()


def test_a_tampered_token_stays_outside(world: World) -> None:
    header, _, signature = world.access_token().split(".")
    claims = raw_jwt({}, world.claims(sub="mallory")).split(".")[1]
    refused(world, f"{header}.{claims}.{signature}")


@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", "NONE", "", "RS256"])
def test_a_token_without_a_signature_stays_outside(world: World, algorithm: str) -> None:
    header = {"typ": "at+jwt", "kid": world.key_id, "alg": algorithm}
    refused(world, raw_jwt(header, world.claims()))
    refused(world, raw_jwt(header, world.claims(), b"signature"))


def test_the_public_key_is_not_a_shared_secret(world: World) -> None:
    public = world.signing_key.public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for secret in (pem, world.auth.get("/jwks").content):
        signed = jwt.api_jws.PyJWS()
        signed._algorithms["HS256"].prepare_key = lambda key: key  # PyJWT refuses to do this; an attacker would not
        header = {"typ": "at+jwt", "kid": world.key_id}
        refused(world, signed.encode(json.dumps(world.claims()).encode(), secret, "HS256", header))


def test_a_token_of_another_algorithm_stays_outside(world: World) -> None:
    refused(world, world.signed(world.claims(), ec.generate_private_key(ec.SECP256R1()), "ES256"))
    refused(world, world.signed(world.claims(), algorithm="RS512"))
    refused(world, world.signed(world.claims(), algorithm="PS256"))


@pytest.mark.parametrize("kid", ["unknown", "", "../../etc/passwd", "' OR 1=1 --", "x" * 4000, "é"])
def test_a_key_we_do_not_know_opens_nothing(world: World, kid: str) -> None:
    refused(world, world.signed(world.claims(), kid=kid))


@pytest.mark.parametrize("kid", [5, ["a"], {"a": 1}, True, None])
def test_a_kid_that_is_no_text_opens_nothing(world: World, kid: object) -> None:
    refused(world, raw_jwt({"typ": "at+jwt", "alg": "RS256", "kid": kid}, world.claims(), b"x" * 256))


@pytest.mark.parametrize("crit", [["x-unknown"], [], ["b64"], "b64", None])
def test_an_extension_we_do_not_understand_opens_nothing(world: World, crit: object) -> None:
    header = {
        "typ": "at+jwt",
        "alg": "RS256",
        "kid": world.key_id,
        "crit": crit,
        "b64": True,
        "x-unknown": 1,
    }
    unsigned = raw_jwt(header, world.claims()).rstrip(".")
    algorithm = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256)
    signature = algorithm.sign(unsigned.encode(), world.signing_key)
    refused(world, unsigned + raw_jwt({}, {}, signature)[-343:])


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "a.b",
        "a.b.c",
        "a.b.c.d.e",
        "...",
        "e30.e30.",
        "e30.e30.e30",
        "bnVsbA.bnVsbA.x",
        "W10.W10.x",
        "IiI.IiI.x",
        "MQ.MQ.x",
        "_w._w.x",
        "W" * 4000 + ".e30.x",
        "x" * 100_000,
    ],
)
def test_what_is_no_jwt_opens_nothing(world: World, token: str) -> None:
    refused(world, token)
    assert world.honest_flow_works()


def test_a_token_without_end_is_not_even_read(world: World) -> None:
    assert opens(world, world.signed(world.claims(padding="x" * 1000)))
    refused(world, world.signed(world.claims(padding="x" * 9000)))


def test_a_real_token_cut_padded_or_lengthened_opens_nothing(world: World) -> None:
    token = world.access_token()
    header, claims, signature = token.split(".")
    for wrong in (f"{header}.{claims}.", f"{header}.{claims}", token[:-5], token + "=", token + ".x", token + "A"):
        refused(world, wrong)


# ── the keys ──────────────────────────────────────────────────────────────────


class Keys:
    """An authorization server of which only metadata and keys matter; it counts, and can be down or odd."""

    def __init__(self, world: World):
        self.asked = 0
        self.keys: Any = world.auth.get("/jwks").json()
        self.status = 200
        self.app = Starlette(
            routes=[Route("/.well-known/oauth-authorization-server", self.metadata), Route("/jwks", self.jwks)]
        )
        world.connect(self.app)

    async def metadata(self, _: object) -> JSONResponse:
        return JSONResponse({"issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks"}, self.status)

    async def jwks(self, _: object) -> JSONResponse:
        self.asked += 1
        return JSONResponse(self.keys, self.status)


PUBLIC_MEMBERS = {"RSA": {"n", "e"}, "EC": {"crv", "x", "y"}}


def test_the_keys_are_public_and_only_public(world: World) -> None:
    answer = world.auth.get("/jwks")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "public, max-age=300"
    keys = answer.json()["keys"]
    assert [(key["kty"], key["use"], key["alg"]) for key in keys][:1] == [("RSA", "sig", "RS256")]
    for key in keys:
        assert set(key) == {"kty", "kid", "use", "alg"} | PUBLIC_MEMBERS[key["kty"]]
    assert len(keys) == (1 if world.number <= "08" else 2), "the finished server has one of each kind"


def test_the_keys_are_fetched_once(world: World) -> None:
    keys, token = Keys(world), world.access_token()
    assert all(opens(world, token) for _ in range(5))
    assert keys.asked == 1


def test_an_unknown_kid_makes_us_ask_again_once_per_cool_down(world: World) -> None:
    keys = Keys(world)
    assert opens(world, world.access_token())
    for number in range(10):
        refused(world, world.signed(world.claims(), kid=f"unknown {number}"))
    assert keys.asked == 2
    world.clock.ahead += 61
    refused(world, world.signed(world.claims(), kid="unknown"))
    assert keys.asked == 3


def test_garbage_never_makes_us_ask(world: World) -> None:
    keys = Keys(world)
    for token in ("x", "a.b.c", world.signed(world.claims(), typ="JWT"), world.signed(world.claims(), crit=["x"])):
        refused(world, token)
    assert keys.asked == 0


def test_a_new_key_is_learned_and_a_withdrawn_one_forgotten(world: World) -> None:
    keys, old = Keys(world), world.access_token()
    assert opens(world, old)
    world.new_signing_key()
    both = keys.keys["keys"] + world.auth.get("/jwks").json()["keys"]
    keys.keys = {"keys": both}
    assert opens(world, world.access_token()), "learned at once"
    assert opens(world, old), "published still, so believed still"
    keys.keys = {"keys": both[1:]}
    assert opens(world, old), "kept for a while"
    world.clock.ahead += 301
    refused(world, old)
    assert opens(world, world.access_token())


ODD_KID = {"keys": [{"kty": "RSA", "kid": [1], "n": "AQAB", "e": "AQAB"}]}
DEEP = functools.reduce(lambda inner, _: [inner], range(900), [])


@pytest.mark.parametrize(
    "keys", [{}, [], {"keys": []}, {"keys": 5}, {"keys": [5]}, {"keys": [{"kty": "RSA"}]}, "text", None, ODD_KID, DEEP]
)
def test_odd_keys_are_no_keys_and_it_recovers(world: World, keys: object) -> None:
    server, token = Keys(world), world.access_token()
    good, server.keys = server.keys, keys
    assert world.list_tools(f"Bearer {token}").status_code == 503
    server.keys = good
    world.clock.ahead += 2
    assert opens(world, token)


def test_with_the_authorization_server_down_the_answer_is_503_and_it_recovers(world: World) -> None:
    keys, token = Keys(world), world.access_token()
    keys.status = 500
    answer = world.list_tools(f"Bearer {token}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"] == "temporarily_unavailable"
    assert "try again" in answer.json()["error_description"]
    assert world.list_tools().status_code == 401, "without a token nothing has changed"
    keys.status = 200
    world.clock.ahead += 2
    assert opens(world, token)


@pytest.mark.parametrize("drips", [False, True])
def test_an_authorization_server_that_hangs_does_not_hang_us(world: World, drips: bool) -> None:
    """Twenty at a time wait for one answer, not one after another for twenty."""
    asked = 0

    async def silent(scope: dict, receive: object, send: Callable) -> None:
        nonlocal asked
        asked += 1
        if drips:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await asyncio.sleep(0.02)
            if drips:
                await send({"type": "http.response.body", "body": b" ", "more_body": True})

    async def many(origin: str) -> list[int]:
        async with httpx2.AsyncClient(timeout=60) as http:
            headers = {"Authorization": f"Bearer {token}"}
            answers = await asyncio.gather(*(http.post(f"{origin}/mcp", headers=headers) for _ in range(20)))
        return [answer.status_code for answer in answers]

    token = world.access_token()
    world.connect(silent)
    world.patience(0.5)
    with served(world.mcp_server.app) as origin:
        assert asyncio.run(many(origin)) == [503] * 20
    assert asked == 1


@pytest.mark.parametrize("issuer", [ISSUER + "/", "https://evil.example", None])
def test_keys_are_taken_only_from_the_issuer_we_trust(world: World, issuer: object) -> None:
    async def metadata(_: object) -> JSONResponse:
        return JSONResponse({"issuer": issuer, "jwks_uri": f"{ISSUER}/jwks"})

    token, keys = world.access_token(), Keys(world)
    keys.app.router.routes[0] = Route("/.well-known/oauth-authorization-server", metadata)
    assert world.list_tools(f"Bearer {token}").status_code == 503
    assert keys.asked == 0


def test_an_address_that_is_none_is_no_keys(world: World) -> None:
    async def metadata(_: object) -> JSONResponse:
        return JSONResponse({"issuer": ISSUER, "jwks_uri": "http://localhost:999999/jwks"})

    token = world.access_token()
    world.connect(Starlette(routes=[Route("/.well-known/oauth-authorization-server", metadata)]))
    assert world.list_tools(f"Bearer {token}").status_code == 503


def test_all_who_come_at_once_share_one_fetch(world: World) -> None:
    keys, headers = Keys(world), MCP_HEADERS | {"Authorization": f"Bearer {world.access_token()}"}

    async def many(origin: str) -> list[int]:
        async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
            answers = await asyncio.gather(*(http.post(f"{origin}/mcp", json=LIST_TOOLS) for _ in range(20)))
        return [answer.status_code for answer in answers]

    with served(world.mcp_server.app) as origin:
        assert asyncio.run(many(origin)) == [200] * 20
    assert keys.asked == 1


# ── what step 04 left open ────────────────────────────────────────────────────


@pytest.mark.steps("04")
@pytest.mark.parametrize(
    "wrong", ["forged", "tampered", "alg none", "expired", "for the neighbour", "of another issuer", "two headers"]
)
def test_left_open_in_step_04_a_token_is_read_and_believed(world: World, wrong: str) -> None:
    now = int(time.time())
    tokens = {
        "forged": raw_jwt({"alg": "RS256"}, world.claims(), b"x"),
        "tampered": ".".join(
            [*raw_jwt({}, world.claims(sub="mallory")).split(".")[:2], world.access_token().split(".")[2]]
        ),
        "alg none": raw_jwt({"alg": "none"}, world.claims()),
        "expired": raw_jwt({}, world.claims(exp=now - 3600)),
        "for the neighbour": raw_jwt({}, world.claims(aud=NEIGHBOUR)),
        "of another issuer": raw_jwt({}, world.claims(iss="https://evil.example")),
        "two headers": world.access_token(),
    }
    more = ["Bearer bad"] if wrong == "two headers" else []
    assert world.list_tools(f"Bearer {tokens[wrong]}", *more).status_code == 200


@pytest.mark.steps("04")
def test_left_open_in_step_04_and_said_so_in_the_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.list_tools(f"Bearer {world.access_token()}")
    assert "left open on purpose: believing a token that nobody has verified" in caplog.text


@pytest.mark.steps("04")
@pytest.mark.parametrize("token", ["x", "a.b.c", "e30.W10.", "x" * 100_000])
def test_what_cannot_be_read_is_refused_in_step_04_already(world: World, token: str) -> None:
    refused(world, token)
