"""The finished authorization server on the wire, beyond what it shares with step 08."""

import json
import os
import stat
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from attacks.loaded import Loaded
from attacks.site import Site
from shared.addresses import ISSUER, NEIGHBOUR, RESOURCE
from shared.stop import Stop
from tests.auth_house import BOTH, CONFIDENTIAL, WATCHER, House
from tests.world import NATIVE, answer_in

POSIX_ONLY = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other rights")


@pytest.fixture
def house(loaded_programs: Loaded) -> Iterator[House]:
    with House(loaded=loaded_programs) as house:
        yield house


@pytest.fixture
def settled(loaded_programs: Loaded) -> Iterator[object]:
    """A house with settings of one's own."""
    houses: list[House] = []

    def build(**settings: object) -> House:
        houses.append(House(loaded=loaded_programs, **settings).__enter__())
        return houses[-1]

    yield build
    for one in houses:
        one.__exit__()


def refused(answer: object, error: str, status: int = 400) -> None:
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
    assert answer.headers["cache-control"] == "no-store"


def claims_in(token: str) -> dict:
    return jwt.decode(token, options={"verify_signature": False})


# ── metadata and issuers ──────────────────────────────────────────────────────


def test_it_says_what_it_can_do_beyond_step_08(house: House) -> None:
    about = house.announced()
    assert about["introspection_endpoint"] == f"{ISSUER}/introspect"
    assert about["introspection_endpoint_auth_methods_supported"] == ["client_secret_basic", "client_secret_post"]
    assert about["client_id_metadata_document_supported"] is True
    assert about["scopes_supported"][-1] == "offline_access"
    assert about["protected_resources"] == [RESOURCE, NEIGHBOUR]
    assert house.auth.get("/.well-known/openid-configuration").status_code == 404, "we make no ID tokens"


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"client_metadata_documents": False}, "client_id_metadata_document_supported"),
        ({"open_registration": False, "initial_access_token": ""}, "registration_endpoint"),
    ],
)
def test_what_is_switched_off_is_not_announced(settled, settings: dict, name: str) -> None:
    assert name not in settled(**settings).announced()
    assert name in settled(open_registration=False).announced(), "the operator still may"


def test_an_issuer_may_have_a_path(settled) -> None:
    issuer = f"{ISSUER}/tenant1"
    house = settled(issuer=issuer)
    auth = house.client(house.auth_server.app, ISSUER, ("127.0.0.1", 1))
    places = ("/.well-known/oauth-authorization-server/tenant1", "/.well-known/openid-configuration/tenant1")
    for place in (*places, "/tenant1/.well-known/openid-configuration"):
        about = auth.get(place).raise_for_status().json()
        assert about["issuer"] == issuer
    assert auth.get("/.well-known/oauth-authorization-server").status_code == 404, "another tenant's place"
    assert about["token_endpoint"] == f"{issuer}/token"
    for name in ("authorization_endpoint", "registration_endpoint", "revocation_endpoint", "jwks_uri"):
        assert auth.get(about[name]).status_code != 404, name
    client = auth.post("/tenant1/register", json=NATIVE).raise_for_status().json()
    assert auth.get("/tenant1/authorize", params=house.ask(client["client_id"])).status_code == 200
    assert [auth.post("/tenant1/token", data={"x": "y"}).status_code for _ in range(21)] == [401] * 20 + [429]
    assert auth.get("/tenant1/health").status_code == 200


# ── keys ──────────────────────────────────────────────────────────────────────


def kids(house: House) -> list[str]:
    return [key["kid"] for key in house.auth.get("/jwks").json()["keys"]]


def test_both_kinds_of_key_are_published_from_the_start_and_nothing_private(house: House) -> None:
    answer = house.auth.get("/jwks")
    assert [key["alg"] for key in answer.json()["keys"]] == ["RS256", "ES256"], "the one that signs comes first"
    assert not any({"d", "p", "q"} & set(key) for key in answer.json()["keys"])
    assert answer.headers["cache-control"] == "public, max-age=300"


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_it_signs_with_the_one_that_the_settings_name(settled, algorithm: str) -> None:
    house = settled(signing_algorithm=algorithm)
    token = house.access_token()
    header = jwt.get_unverified_header(token)
    assert (header["alg"], header["typ"]) == (algorithm, "at+jwt")
    key = next(key for key in house.auth.get("/jwks").json()["keys"] if key["kid"] == header["kid"])
    assert jwt.decode(token, jwt.PyJWK(key), [algorithm], audience=RESOURCE, issuer=ISSUER)["sub"] == "alice"


def test_a_successor_is_published_before_it_signs_and_the_old_one_until_its_last_token_expired(house: House) -> None:
    old, other = kids(house)
    before = house.access_token()
    new = house.server.keys.rotate("RS256")[0]
    assert jwt.get_unverified_header(house.access_token())["kid"] == old
    assert set(kids(house)) == {old, new, other}
    house.later(301)
    assert jwt.get_unverified_header(house.access_token())["kid"] == new
    assert kids(house)[0] == new
    house.let_introspect()
    assert house.is_active(before)
    house.later(600 + 57)  # and a minute for clocks that are slow
    assert old in kids(house)
    house.later(3)
    assert old not in kids(house)
    house.server.keys.purge()
    assert len(list((Path(house.folder) / "keys").iterdir())) == 2, "its file is gone too"


def test_a_key_that_somebody_stole_is_withdrawn_at_once(house: House) -> None:
    house.let_introspect()
    token = house.access_token()
    old = kids(house)[0]
    house.server.keys.retire(old)
    assert old not in kids(house)
    assert not house.is_active(token)
    assert house.is_active(house.access_token()), "another one signs"
    waiting = house.server.keys.rotate("RS256")[0]
    house.server.keys.retire(kids(house)[0])
    assert kids(house)[0] == waiting, "whichever was published already"
    with pytest.raises(Stop, match="There is no key 'nonsense'"):
        house.server.keys.retire("nonsense")


def test_what_another_process_did_to_the_keys_is_noticed_within_a_second(house: House) -> None:
    first = kids(house)
    elsewhere = house.room("keys").Keys(Path(house.folder) / "keys", house.server.settings)
    assert {key["kid"] for key in elsewhere.list()} == set(first), "it finds them, and makes none"
    new = elsewhere.rotate("RS256")[0]
    house.later(1)
    assert new in kids(house)
    assert [key["state"] for key in elsewhere.list() if key["kid"] == new] == ["next"]
    elsewhere.retire(first[0])
    house.later(1)
    assert first[0] not in kids(house)
    assert kids(house)[0] == new


def test_a_key_that_was_retired_signs_no_more_whatever_else_cannot_be_read(house: House) -> None:
    old, folder = kids(house)[0], Path(house.folder) / "keys"
    elsewhere = house.room("keys").Keys(folder, house.server.settings)
    elsewhere.retire(old)
    (folder / f"{'0' * 16}.RS256.0.pem").mkdir(0o700)
    house.later(1)
    assert old not in kids(house)
    assert jwt.get_unverified_header(house.access_token())["kid"] in kids(house)


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="only root gives files away")
def test_a_key_that_root_makes_belongs_to_the_owner_of_the_folder(house: House) -> None:
    kids(house)
    folder = Path(house.folder) / "keys"
    os.chown(folder, 65534, 65534)
    new = house.server.keys.rotate()
    assert [path.stat().st_uid for path in folder.iterdir() if path.name[:16] in new] == [65534] * 2


def test_keys_outlive_the_process(house: House) -> None:
    again = house.room("keys").Keys(Path(house.folder) / "keys", house.server.settings)
    assert again.jwks() == house.server.keys.jwks()


@POSIX_ONLY
def test_nobody_else_can_read_the_keys_or_it_does_not_start(house: House) -> None:
    folder = Path(house.folder) / "keys"
    kids(house)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()] == [0o600] * 2
    for path in (next(folder.iterdir()), folder):
        mode = path.stat().st_mode
        path.chmod(mode | 0o040)
        with pytest.raises(Stop, match=f"Others on this computer can get at {path}.*chmod"):
            house.room("keys").Keys(folder, house.server.settings)
        path.chmod(mode)
    house.room("keys").Keys(folder, house.server.settings)


def test_a_key_that_is_broken_is_named(house: House) -> None:
    kids(house)
    path = next((Path(house.folder) / "keys").glob("*RS256*"))
    for broken in (b"", b"nonsense", path.read_bytes()[:100]):
        path.write_bytes(broken)
        with pytest.raises(Stop, match=f"The key {path} cannot be used."):
            house.room("keys").Keys(path.parent, house.server.settings)


def test_a_key_of_the_wrong_kind_is_named(house: House) -> None:
    kids(house)
    path = next((Path(house.folder) / "keys").glob("*RS256*"))
    next(path.parent.glob("*ES256*")).replace(path)
    with pytest.raises(Stop, match=f"The key {path} cannot be used."):
        house.room("keys").Keys(path.parent, house.server.settings)


def test_without_any_key_it_is_not_ready_but_lives(house: House) -> None:
    client_id = house.register()["client_id"]
    code = house.code(client_id)
    hidden = [(path, path.read_bytes()) for path in (Path(house.folder) / "keys").iterdir()]
    for path, _ in hidden:
        path.unlink()
    house.later(1)
    assert house.auth.get("/health").status_code == 200
    answer = house.auth.get("/ready")
    assert (answer.status_code, answer.json()["problems"]) == (503, ["there is no key to sign with"])
    refused(house.redeem(client_id, code), "temporarily_unavailable", 503)
    for path, pem in hidden:
        path.write_bytes(pem)
        path.chmod(0o600)
    house.later(1)
    assert house.auth.get("/ready").json() == {"status": "ready"}
    assert house.redeem(client_id, code).status_code == 200, "and the code was not used up"


# ── registration ──────────────────────────────────────────────────────────────


def test_a_secret_is_told_once_and_kept_as_a_hash(house: House) -> None:
    client = house.register(**CONFIDENTIAL)
    assert (len(client["client_secret"]), client["client_secret_expires_at"]) == (43, 0)
    kept = house.store.client(client["client_id"])
    assert "client_secret" not in kept.registered
    assert client["client_secret"] not in json.dumps(kept.registered)


def test_whoever_is_silent_about_scope_gets_what_the_resources_know(house: House) -> None:
    everything = "mcp:tools:sentiment mcp:resources:customer-data:read mcp:exec:workflows:rebalance"
    assert house.register()["scope"] == f"{everything} mcp:resources:customer-data"
    assert house.register(scope="mcp:tools:sentiment offline_access x")["scope"] == "mcp:tools:sentiment offline_access"


def test_registration_can_be_closed(settled) -> None:
    house = settled(open_registration=False)
    answer = house.auth.post("/register", json=NATIVE)
    refused(answer, "invalid_token", 401)
    assert answer.headers["www-authenticate"].startswith('Bearer realm="register"')
    operator = {"Authorization": f"Bearer {house.initial_access_token()}"}
    assert house.auth.post("/register", json=NATIVE, headers=operator).status_code == 201


def test_without_an_initial_access_token_nobody_is_the_operator(settled) -> None:
    house = settled(initial_access_token="")
    for token in ("", "x"):
        headers = {"Authorization": f"Bearer {token}"}
        refused(house.auth.post("/register", json=NATIVE, headers=headers), "invalid_token", 401)


def test_a_client_that_nobody_uses_is_forgotten_and_one_in_use_is_not(settled) -> None:
    house = settled(unused_client_lifetime=10 * 86_400)
    idle, used = (house.register(grant_types=BOTH)["client_id"] for _ in range(2))
    for _ in range(5):
        house.later(3 * 86_400)
        house.tokens(used)
        house.store.purge(house.clock.time())
    assert house.store.client(used) is not None
    assert house.store.client(idle) is None
    machine = house.register_machine(token_endpoint_auth_method="client_secret_post")["client_id"]
    house.later(1000 * 86_400)
    house.store.purge(house.clock.time())
    assert house.store.client(machine) is not None, "what an operator registers stays"


def test_a_client_that_never_got_a_token_is_forgotten_after_a_day_but_not_while_somebody_thinks(house: House) -> None:
    idle, asked = (house.register()["client_id"] for _ in range(2))
    house.later(86_400 - 60)
    page = house.page(house.ask(asked))
    house.later(300)
    house.store.purge(house.clock.time())
    assert house.store.client(idle) is None
    code = answer_in(house.auth.post("/consent", data=page | {"decision": "allow"}))["code"]
    house.later(59)
    house.store.purge(house.clock.time())
    assert house.redeem(asked, code).status_code == 200
    house.later(80 * 86_400)
    house.store.purge(house.clock.time())
    assert house.store.client(asked) is not None


# ── resources ─────────────────────────────────────────────────────────────────


def test_scheme_and_host_of_a_resource_may_be_in_upper_case(house: House) -> None:
    """MCP-G-10: the token is for the resource as its server calls itself."""
    client_id = house.register(grant_types=BOTH)["client_id"]
    loud = RESOURCE.replace("http://localhost", "HTTP://LOCALHOST")
    found = house.redeem(
        client_id, answer_in(house.consent(house.ask(client_id, resource=loud)))["code"], resource=loud
    )
    assert claims_in(found.json()["access_token"])["aud"] == RESOURCE
    again = house.refresh(client_id, found.json()["refresh_token"], resource=loud).json()
    assert claims_in(again["access_token"])["aud"] == RESOURCE
    refused(house.refresh(client_id, again["refresh_token"], resource=loud.replace("/mcp", "/MCP")), "invalid_target")


def test_what_a_resource_has_no_longer_is_not_given_out(house: House) -> None:
    directory, now = house.server.directory, house.clock.time()
    known = directory.resources()[RESOURCE]
    client_id, found = house.with_refresh()
    directory.put_resource(replace(known, scopes={SENTIMENT: "Moods"}), now)
    found = house.refresh(client_id, found["refresh_token"]).json()
    assert found["scope"] == claims_in(found["access_token"])["scope"] == SENTIMENT
    directory.put_resource(replace(known, scopes={"mcp:tools:new": "News"}), now)
    refused(house.refresh(client_id, found["refresh_token"]), "invalid_scope")
    directory.put_resource(known, now)
    assert house.refresh(client_id, found["refresh_token"]).status_code == 200, "and nothing was used up"


def test_who_allows_a_resource_that_was_removed_meanwhile_gives_nothing(house: House) -> None:
    client_id = house.register(grant_types=BOTH)["client_id"]
    page = house.page(house.ask(client_id))
    house.store.remove(house.room("tables").resources, RESOURCE, house.clock.time())
    house.later(1)
    code = answer_in(house.auth.post("/consent", data=page | {"decision": "allow"}))["code"]
    refused(house.redeem(client_id, code), "invalid_target")


# ── offline_access ────────────────────────────────────────────────────────────

SENTIMENT = "mcp:tools:sentiment"


def test_offline_access_is_never_a_right_at_the_resource(house: House) -> None:
    client_id = house.register(grant_types=BOTH)["client_id"]
    found = house.tokens(client_id, scope=f"{SENTIMENT} offline_access")
    assert found["scope"] == f"{SENTIMENT} offline_access"
    assert claims_in(found["access_token"])["scope"] == SENTIMENT
    again = house.refresh(client_id, found["refresh_token"]).json()
    assert claims_in(again["access_token"])["scope"] == SENTIMENT


def test_whoever_unticks_it_gives_no_refresh_token(house: House) -> None:
    client_id = house.register(grant_types=BOTH)["client_id"]
    ask = house.ask(client_id, scope=f"{SENTIMENT} offline_access")
    code = answer_in(house.consent(ask, scope=[SENTIMENT]))["code"]
    found = house.redeem(client_id, code).json()
    assert "refresh_token" not in found
    assert found["scope"] == SENTIMENT


def test_it_is_not_required(house: House) -> None:
    client_id = house.register(grant_types=BOTH)["client_id"]
    assert "refresh_token" in house.tokens(client_id, scope=SENTIMENT)


def test_it_is_not_for_clients_that_never_refresh(house: House) -> None:
    ask = house.ask(house.register()["client_id"], scope=f"{SENTIMENT} offline_access")
    house.page(house.ask(ask["client_id"]))  # and signs in
    assert answer_in(house.auth.get("/authorize", params=ask))["error"] == "invalid_scope"


# ── introspection ─────────────────────────────────────────────────────────────


def test_a_resource_server_learns_what_its_token_says(house: House) -> None:
    house.let_introspect()
    token = house.access_token()
    answer = house.introspect(token)
    assert answer.json() == {"active": True, "token_type": "Bearer"} | claims_in(token)
    assert answer.headers["cache-control"] == "no-store"
    by_post = {"token": token, "client_id": WATCHER[0], "client_secret": WATCHER[1], "token_type_hint": "whatever"}
    assert house.auth.post("/introspect", data=by_post).json() == answer.json()


def inactive(answer: object) -> None:
    assert (answer.status_code, answer.json()) == (200, {"active": False}), answer.text


def test_about_all_other_tokens_it_learns_nothing(house: House) -> None:
    house.let_introspect()
    house.let_introspect(NEIGHBOUR, ("neighbour", "its secret"))
    token, (_, found) = house.access_token(), house.with_refresh()
    inactive(house.introspect(token, ("neighbour", "its secret")))
    inactive(house.introspect(found["refresh_token"]))
    header, payload, signature = token.split(".")
    forged = jwt.encode(claims_in(token), rsa.generate_private_key(65537, 2048), "RS256", {"kid": house.key_id})
    for garbage in ("x", "a.b.c", "..", f"{header}.{payload}.", f"{header}.{payload}.{signature[:-4]}AAAA", forged):
        inactive(house.introspect(garbage))
    inactive(house.introspect(house.signed(claims_in(token), typ="JWT")))
    inactive(house.introspect(house.signed(claims_in(token) | {"iss": "https://evil.example"})))
    inactive(house.introspect(jwt.encode(claims_in(token), None, "none", {"kid": house.key_id, "typ": "at+jwt"})))
    inactive(house.introspect(jwt.encode(claims_in(token), "k" * 32, "HS256", {"kid": house.key_id, "typ": "at+jwt"})))
    house.later(601)
    inactive(house.introspect(token))


@pytest.mark.parametrize("who", [("market", "wrong"), ("nobody", "x"), ("", ""), ("é:%", "ü")])
def test_who_asks_must_be_known(house: House, who: tuple[str, str]) -> None:
    house.let_introspect()
    answer = house.introspect("x", who)
    refused(answer, "invalid_client", 401)
    assert answer.headers["www-authenticate"] == 'Basic realm="token"'


def test_clients_may_not_ask(house: House) -> None:
    client = house.register(**CONFIDENTIAL)
    who = client["client_id"], client["client_secret"]
    refused(house.introspect("x", who), "invalid_client", 401)
    form = {"token": "x", "client_id": who[0], "client_secret": who[1]}
    refused(house.auth.post("/introspect", data=form), "invalid_client", 401)
    refused(house.auth.post("/introspect", data={"token": "x"}), "invalid_client", 401)
    refused(house.auth.post("/introspect", data=form, auth=who), "invalid_request")


def test_what_a_resource_server_shows_is_good_for_nothing_else(house: House) -> None:
    house.let_introspect()
    for path in ("/token", "/revoke"):
        answer = house.auth.post(path, data={"grant_type": "client_credentials", "token": "x"}, auth=WATCHER)
        refused(answer, "invalid_client", 401)


def test_a_resource_without_credentials_asks_nothing(house: House) -> None:
    refused(house.introspect("x", ("None", "")), "invalid_client", 401)


def test_which_token_must_be_said_once(house: House) -> None:
    house.let_introspect()
    refused(house.auth.post("/introspect", data={"x": "y"}, auth=WATCHER), "invalid_request")
    refused(house.auth.post("/introspect", data={"token": ["x", "y"]}, auth=WATCHER), "invalid_request")
    assert house.auth.get("/introspect").status_code == 405
    assert house.auth.post("/introspect", json={"token": "x"}, auth=WATCHER).status_code == 415


# ── what ends ─────────────────────────────────────────────────────────────────


def test_an_access_token_that_its_client_revokes_is_active_no_more(house: House) -> None:
    house.let_introspect()
    client_id, found = house.with_refresh()
    token = found["access_token"]
    stranger = house.register()["client_id"]
    assert house.auth.post("/revoke", data={"token": token, "client_id": stranger}).status_code == 200
    assert house.is_active(token), "it is none of theirs"
    for _ in range(2):
        answer = house.auth.post("/revoke", data={"token": token, "client_id": client_id})
        assert (answer.status_code, answer.content) == (200, b"")
    assert not house.is_active(token)
    again = house.refresh(client_id, found["refresh_token"])
    assert house.is_active(again.json()["access_token"]), "the rest of the grant lives on"


def test_with_a_refresh_token_goes_all_that_came_of_the_grant(house: House) -> None:
    house.let_introspect()
    client_id, found = house.with_refresh()
    newer = house.refresh(client_id, found["refresh_token"]).json()
    other = house.access_token()
    assert house.auth.post("/revoke", data={"token": newer["refresh_token"], "client_id": client_id}).is_success
    refused(house.refresh(client_id, newer["refresh_token"]), "invalid_grant")
    assert not house.is_active(found["access_token"]) and not house.is_active(newer["access_token"])
    assert house.is_active(other), "another consent"


def test_a_replay_ends_the_access_tokens_too(house: House) -> None:
    house.let_introspect()
    client_id = house.register()["client_id"]
    code = house.code(client_id)
    token = house.redeem(client_id, code).json()["access_token"]
    refused(house.redeem(client_id, code, code_verifier="x" * 43), "invalid_grant")
    assert house.is_active(token), "a guess ends nothing"
    refused(house.redeem(client_id, code), "invalid_grant")
    assert not house.is_active(token)


def test_a_machine_that_is_removed_has_no_more_tokens(house: House) -> None:
    house.let_introspect()
    machine = house.register_machine(token_endpoint_auth_method="client_secret_post")
    credentials = {name: machine[name] for name in ("client_id", "client_secret")}
    form = {"grant_type": "client_credentials", "resource": RESOURCE} | credentials
    token = house.auth.post("/token", data=form).raise_for_status().json()["access_token"]
    assert house.is_active(token)
    house.store.remove(house.room("tables").clients, machine["client_id"], house.clock.time())
    assert not house.is_active(token)
    refused(house.auth.post("/token", data=form), "invalid_client", 401)


def test_what_is_taken_back_from_a_machine_is_active_no_more(house: House) -> None:
    house.let_introspect()
    machine = house.register_machine(token_endpoint_auth_method="client_secret_post")
    form = {"grant_type": "client_credentials", "resource": RESOURCE}
    form |= {name: machine[name] for name in ("client_id", "client_secret")}
    token = house.auth.post("/token", data=form).json()["access_token"]
    house.later(1)
    house.store.take_back(house.clock.time(), client_id=machine["client_id"])
    assert not house.is_active(token)
    house.later(1)
    assert house.is_active(house.auth.post("/token", data=form).json()["access_token"]), "it may come again"


def test_what_a_person_or_an_operator_takes_back_is_gone(house: House) -> None:
    house.let_introspect()
    now = house.clock.time
    client_id, found = house.with_refresh()
    house.store.withdraw("alice", client_id, RESOURCE, now())
    assert not house.is_active(found["access_token"])
    refused(house.refresh(client_id, found["refresh_token"]), "invalid_grant")
    client_id, found = house.with_refresh("bob")
    code = house.code(client_id, "bob")
    house.store.remove(house.room("tables").people, "bob", now())
    assert not house.is_active(found["access_token"])
    refused(house.refresh(client_id, found["refresh_token"]), "invalid_grant")
    refused(house.redeem(client_id, code), "invalid_grant")


# ── clients that prove themselves ─────────────────────────────────────────────


def test_many_may_guess_a_secret_from_many_addresses_but_not_for_long(house: House) -> None:
    """ATK-116: and whoever knows it is not kept out by them."""
    client = house.register(**CONFIDENTIAL)
    form = {"grant_type": "authorization_code", "client_id": client["client_id"], "code": "x"}
    for number in range(20):
        guess = house.browser((f"203.0.113.{number}", 1)).post("/token", data=form | {"client_secret": "guess"})
        refused(guess, "invalid_client", 401)
    answer = house.browser(("203.0.113.99", 1)).post("/token", data=form | {"client_secret": "guess"})
    refused(answer, "temporarily_unavailable", 429)
    assert 0 < int(answer.headers["retry-after"]) <= 61
    right = house.auth.post("/token", data=form | {"client_secret": client["client_secret"]})
    refused(right, "invalid_grant")


def test_an_assertion_may_be_signed_with_either_algorithm(house: House) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": "k", "alg": "ES256"}
    machine = house.register_machine(token_endpoint_auth_method="private_key_jwt", jwks={"keys": [public]})
    now = int(house.clock.time())
    claims = {"iss": machine["client_id"], "sub": machine["client_id"], "aud": ISSUER, "iat": now, "exp": now + 60}

    def ask(**changes: object) -> object:
        assertion = jwt.encode(claims | changes, key, "ES256", {"kid": "k"})
        kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        form = {"grant_type": "client_credentials", "resource": RESOURCE, "client_assertion_type": kind}
        return house.auth.post("/token", data=form | {"client_assertion": assertion})

    assert ask(jti="1").status_code == 200
    refused(ask(jti="1"), "invalid_client", 401)
    for wrong in ({}, {"jti": ""}, {"jti": 1}, {"jti": "2", "sub": 1}, {"jti": "3", "sub": "\ud800"}, {"sub": ["x"]}):
        refused(ask(**wrong), "invalid_client", 401)


def test_odd_credentials_are_refused_and_break_nothing(house: House) -> None:
    odd = [b"\xff:\xff", b"a", b"a:b:c", b":", b"%zz:%", b"\x00:\x00", b"%00:x", b"%F0%28:x"]
    for header in [f"Basic {b64encode(one).decode()}" for one in odd] + ["Basic !", "Basic", "Bearer x", "Digest x"]:
        answer = house.auth.post("/token", data={"grant_type": "x"}, headers={"Authorization": header})
        refused(answer, "invalid_client", 401)
        assert answer.headers["www-authenticate"] == 'Basic realm="token"'
        house.later(61)
    for client_id in ("\x00", "\x1b[2J", "x" * 5000, "https://", "http://[::1", "https://é.example/ü"):
        form = {"grant_type": "authorization_code", "client_id": client_id}
        assert house.auth.post("/token", data=form).status_code in (400, 401)
        house.later(61)


def test_a_client_whose_document_cannot_be_read_now_may_come_back(house: House) -> None:
    with Site() as site:
        url = site.at("/client.json", NATIVE | {"client_id": f"{site.origin}/client.json", "grant_types": BOTH})
        found = house.tokens(url)
    again = house.refresh(url, found["refresh_token"])
    assert again.status_code == 200, "the last good one still counts"
    house.later(2 * 3600)
    answer = house.refresh(url, again.json()["refresh_token"])
    refused(answer, "temporarily_unavailable", 503)
    assert answer.headers["retry-after"] == "5"
    answer = house.auth.post("/revoke", data={"token": again.json()["refresh_token"], "client_id": url})
    refused(answer, "temporarily_unavailable", 503)


# ── who may come in at all ────────────────────────────────────────────────────


def test_metrics_are_for_this_computer(house: House) -> None:
    house.access_token()
    house.auth.get("/nowhere/at/all")
    answer = house.from_here().get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'auth_server_tokens_total{grant_type="authorization_code"} 1.0' in answer.text
    assert 'auth_server_requests_total{endpoint="other",status="404"} 1.0' in answer.text
    assert "nowhere" not in answer.text
    assert house.from_here().get("/metrics", headers={"Host": "127.0.0.1:9000"}).status_code == 200
    for host in ("evil.example", "localhost.evil.example", "[::1", "[::1]evil.example", "", "localhost@evil.example"):
        assert house.from_here().get("/metrics", headers={"Host": host}).status_code == 421
    refused(house.browser(("203.0.113.9", 1)).get("/metrics"), "access_denied", 403)


def test_from_elsewhere_and_behind_a_proxy_they_take_a_token(settled) -> None:
    token = "t" * 22
    for house in (settled(metrics_token=token), settled(metrics_token=token, proxies="127.0.0.1")):
        there = house.browser(("203.0.113.9", 1))
        assert there.get("/metrics", headers={"Authorization": f"Bearer {token}"}).status_code == 200
        for wrong in ("", "Bearer", f"Bearer {token}x", f"Basic {token}", "Bearer é".encode()):
            refused(there.get("/metrics", headers={"Authorization": wrong}), "access_denied", 403)
    refused(house.from_here().get("/metrics"), "access_denied", 403)


def test_health_and_readiness_are_for_everybody_and_leave_no_line(house: House) -> None:
    lines: list[dict] = []
    house.server.trail.line = lines.append
    for path in ("/health", "/ready"):
        answer = house.browser(("203.0.113.9", 1)).get(path, headers={"Host": "10.0.0.7:9000"})
        assert answer.status_code == 200
    assert not lines


def test_it_is_not_ready_without_its_database(house: House) -> None:
    from sqlalchemy.exc import OperationalError

    client_id = house.register()["client_id"]

    def away(*_: object, **__: object) -> None:
        raise OperationalError("SELECT secret", {}, Exception("gone"))

    house.server.database.look = away
    assert house.auth.get("/ready").json()["problems"] == ["the database does not answer"]
    answer = house.auth.post("/revoke", data={"token": "x", "client_id": client_id})
    refused(answer, "temporarily_unavailable", 503)
    assert answer.headers["retry-after"] == "5"


def test_limits_hold_for_a_whole_neighbourhood_of_ipv6(house: House) -> None:
    for number in range(20):
        assert house.browser((f"2001:db8:0:1::{number}", 1)).post("/token", data={"x": "y"}).status_code == 401
    assert house.browser(("2001:db8:0:1:ffff::9", 1)).post("/token", data={"x": "y"}).status_code == 429
    assert house.browser(("2001:db8:0:2::1", 1)).post("/token", data={"x": "y"}).status_code == 401
    assert house.browser(("fe80::1%eth0", 1)).post("/token", data={"x": "y"}).status_code == 401


def test_a_resource_server_may_ask_much_at_once_but_nobody_guesses_its_secret_for_long(house: House) -> None:
    house.let_introspect()
    form = {"token": "garbage", "client_id": WATCHER[0], "client_secret": WATCHER[1]}
    assert {answer.status_code for answer in house.at_once(40, "/introspect", form, ("127.0.0.1", 1))} == {200}
    guesses = [house.introspect("x", (WATCHER[0], "guess")).status_code for _ in range(21)]
    assert guesses == [401] * 20 + [429]
    assert house.browser(("203.0.113.9", 1)).post("/introspect", data=form).status_code == 200, "from elsewhere"


def test_a_resource_server_that_was_limited_may_ask_again_after_a_minute_however_it_went_on(house: House) -> None:
    house.let_introspect()
    for _ in range(21):
        house.introspect("x", (WATCHER[0], "guess"))
    for _ in range(70):
        house.later(1)
        answer = house.introspect("x")
    assert answer.status_code == 200


@pytest.mark.parametrize("stopped", [{"headers": {"Host": "x"}}, {"params": {"x": "x" * 16_000}}])
def test_a_request_that_is_stopped_at_the_door_takes_back_no_guess(house: House, stopped: dict) -> None:
    guesses = []
    for _ in range(21):
        guesses.append(house.auth.post("/token", data={"x": "y"}).status_code)
        assert house.auth.post("/token", data={"x": "y"}, **stopped).status_code in (414, 421, 429)
    assert guesses == [401] * 20 + [429]


def test_each_address_of_ipv4_has_a_limit_of_its_own_at_a_socket_of_ipv6(house: House) -> None:
    for _ in range(21):
        limited = house.browser(("::ffff:203.0.113.1", 1)).post("/token", data={"x": "y"})
    assert limited.status_code == 429
    assert house.browser(("::ffff:203.0.113.2", 1)).post("/token", data={"x": "y"}).status_code == 401
    assert house.browser(("203.0.113.1", 1)).post("/token", data={"x": "y"}).status_code == 429
    assert house.browser(("::ffff:127.0.0.1", 1)).get("/metrics").status_code == 200, "this computer"
    assert house.browser(("no:address", 1)).post("/token", data={"x": "y"}).status_code == 401


@pytest.mark.parametrize("kind", ["iframe", "frame", "object", "embed", "image"])
def test_a_frame_in_a_strangers_page_does_not_use_up_the_limits_of_a_user(house: House, kind: str) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    answer = house.auth.get("/authorize", headers=foreign | {"Sec-Fetch-Dest": kind})
    refused(answer, "invalid_request", 403)
    ask = house.ask(house.register()["client_id"])
    for followed in (foreign, foreign | {"Sec-Fetch-Dest": "document"}):
        assert house.auth.get("/authorize", params=ask, headers=followed).status_code == 200


def test_whoever_goes_past_the_proxy_that_speaks_tls_gets_nothing(settled) -> None:
    house = settled(issuer=ISSUER.replace("http:", "https:"), proxies="10.9.9.9", metrics_token="t" * 22)
    past = house.client(house.auth_server.app, ISSUER, ("203.0.113.9", 1))
    refused(past.post("/register", json=NATIVE), "invalid_request", 421)
    assert house.auth.post("/register", json=NATIVE).status_code == 201
    assert [past.get(path).status_code for path in ("/health", "/ready")] == [200, 200]
    assert past.get("/metrics", headers={"Authorization": f"Bearer {'t' * 22}"}).status_code == 200


def test_a_question_can_be_too_long(house: House) -> None:
    answer = house.auth.get("/authorize", params={"state": "x" * 16_000})
    refused(answer, "invalid_request", 414)


def test_whoever_never_ends_their_sentence_is_not_waited_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house.room("guard"), "PATIENCE", 0.1)

    async def endless() -> AsyncIterator[bytes]:
        yield b"grant_type="
        await anyio.sleep(10)

    async def ask() -> httpx2.Response:
        transport = httpx2.ASGITransport(house.auth_server.app)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        async with httpx2.AsyncClient(transport=transport, base_url=ISSUER) as http:
            return await http.post("/token", content=endless(), headers=headers)

    refused(anyio.run(ask), "invalid_request", 408)


def test_a_person_is_refused_with_a_page_and_a_program_with_json(house: House) -> None:
    for accept, kind in (("text/html,*/*", "text/html"), ("*/*", "application/json")):
        headers = {"Origin": "https://evil.example", "Accept": accept}
        answer = house.auth.get("/authorize", headers=headers)
        assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (403, kind)


def test_whatever_it_answers_cannot_be_framed_or_guessed_at(house: House) -> None:
    for method, path in (("GET", "/nowhere"), ("GET", "/token"), ("GET", "/jwks"), ("POST", "/token")):
        headers = house.auth.request(method, path).headers
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_every_request_leaves_one_line_without_secrets(house: House) -> None:
    lines: list[dict] = []
    house.server.trail.line = lines.append
    house.let_introspect()
    client_id, found = house.with_refresh()
    house.is_active(found["access_token"])
    house.refresh(client_id, found["refresh_token"])
    assert [line["what"] for line in lines][-4:] == [
        "POST /consent",
        "POST /token",
        "POST /introspect",
        "POST /token",
    ]
    assert (lines[-1]["who"], lines[-1]["client"], lines[-2]["resource"]) == ("alice", client_id, RESOURCE)
    said = json.dumps(lines)
    assert not [secret for secret in house.secrets | {WATCHER[1]} if secret in said]


def test_a_bug_is_loud_and_leaves_a_line(loaded_programs: Loaded) -> None:
    with House(raise_server_exceptions=False, loaded=loaded_programs) as house:
        lines: list[dict] = []
        house.server.trail.line = lines.append
        house.server.keys.jwks = lambda: 1 / 0
        assert house.auth.get("/jwks").status_code == 500
        assert (lines[-1]["status"], lines[-1]["outcome"]) == (500, "refused")


def test_whoever_signs_in_is_written_down_and_a_name_that_nobody_has_is_not(house: House) -> None:
    lines: list[dict] = []
    house.server.trail.line = lines.append
    ask = house.ask(house.register()["client_id"])
    house.consent(ask)
    signed_in = next(line for line in lines if line["what"] == "POST /login")
    assert (signed_in["who"], signed_in["outcome"]) == ("alice", "done")
    for name, who in (("alice", "alice"), ("a password typed as a name", None)):
        house.wrong_password(ask, username=name)
        assert (lines[-1]["what"], lines[-1].get("who"), lines[-1]["outcome"]) == ("POST /login", who, "refused")


def test_lifetimes_are_settings(settled) -> None:
    house = settled(token_lifetime=5, code_lifetime=2, refresh_lifetime=50)
    client_id, found = house.with_refresh()
    assert found["expires_in"] == 5
    house.let_introspect()
    house.later(6)
    assert not house.is_active(found["access_token"])
    code = house.code(client_id)
    house.later(3)
    refused(house.redeem(client_id, code), "invalid_grant")
    house.later(50)
    refused(house.refresh(client_id, found["refresh_token"]), "invalid_grant")
