"""Step 03 on the wire: anybody may register, on the server's terms (RFC 7591)."""

import json

import pytest

from tests.world import NATIVE, World

pytestmark = [pytest.mark.since("03"), pytest.mark.wire]


def all_scopes(world: World) -> str:
    names = ["mcp:tools:sentiment", "mcp:resources:customer-data:read", "mcp:exec:workflows:rebalance"]
    return " ".join(names + (["mcp:resources:customer-data"] if world.number >= "06" else []))


def refused(world: World, **changes: object) -> str:
    answer = world.auth.post("/register", json=NATIVE | changes)
    assert answer.status_code == 400, (answer.status_code, answer.text)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert set(answer.json()) == {"error", "error_description"}
    assert world.auth.post("/register", json=NATIVE).status_code == 201, "an honest client right afterwards"
    return answer.json()["error"]


def test_a_native_client_gets_a_name_and_sees_all_that_was_registered(world: World) -> None:
    answer = world.auth.post("/register", json=NATIVE)
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    client = answer.json()
    assert len(client.pop("client_id")) >= 22, "128 random bits or more"
    assert isinstance(client.pop("client_id_issued_at"), int)
    assert client == NATIVE | {
        "grant_types": ["authorization_code"],
        "response_types": ["code"],
        "scope": all_scopes(world),
    }


def test_no_two_clients_get_the_same_name(world: World) -> None:
    assert len({world.register()["client_id"] for _ in range(20)}) == 20


def test_a_secret_comes_only_with_a_method_that_uses_one(world: World) -> None:
    assert "client_secret" not in world.register()
    confidential = world.register(token_endpoint_auth_method="client_secret_post")
    assert len(confidential["client_secret"]) >= 43
    assert confidential["client_secret_expires_at"] == 0


def test_what_is_not_known_is_ignored_and_what_is_replaced_is_shown(world: World) -> None:
    client = world.register(favourite_colour="red", grant_types=["authorization_code", "refresh_token"])
    assert "favourite_colour" not in client
    known = ["authorization_code", "refresh_token"] if world.number >= "06" else ["authorization_code"]
    assert client["grant_types"] == known


def test_no_other_grant_comes_along_with_the_code(world: World) -> None:
    wanted = ["client_credentials", "authorization_code", "password"]
    assert world.register(grant_types=wanted)["grant_types"] == ["authorization_code"]


@pytest.mark.parametrize(
    ("wanted", "registered"),
    [
        ("foo mcp:tools:sentiment openid", "mcp:tools:sentiment"),
        ("offline", ""),
        ("", ""),
        ("mcp:exec:workflows:rebalance mcp:tools:sentiment", "mcp:tools:sentiment mcp:exec:workflows:rebalance"),
    ],
)
def test_a_scope_nobody_knows_is_left_out_and_the_answer_shows_it(world: World, wanted: str, registered: str) -> None:
    assert world.register(scope=wanted)["scope"] == registered


@pytest.mark.of_steps("the finished server knows what it means")
def test_offline_access_is_a_scope_nobody_knows(world: World) -> None:
    assert world.register(scope="offline_access mcp:tools:sentiment")["scope"] == "mcp:tools:sentiment"


def test_nobody_chooses_their_own_client_id(world: World) -> None:
    assert world.register(client_id="alice", client_secret="mine")["client_id"] != "alice"


@pytest.mark.parametrize(
    "uri",
    [
        "http://evil.example/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://0.0.0.0/cb",
        "http://127.0.0.2/cb",
        "http://localhost.evil.example/cb",
        "https://a.example/cb#x",
        "https://u:p@a.example/cb",
        "https://app.example@evil.example/cb",
        "https://app.example\\@evil.example/cb",
        "http://127.0.0.1:3000@evil.example/",
        "https://*.a.example/cb",
        "https://a.example/*",
        "/cb",
        "cb",
        "",
        "//a.example/cb",
        "https://",
        "https:///cb",
        "http://[::1",
        "https://a.example/c b",
        "https://a.example/cb\n",
        "https://a.example/cb\r\nSet-Cookie: a=b",
        "https://a.example/\u00e9",
        "javascript:alert(1)",
        "data:text/html,hello",
        "file:///etc/passwd",
        "app://callback",
        "https://../",
        "https://a..b/cb",
        "https://a.example:123456/cb",
        "https://a.example/" + "a" * 3000,
    ],
)
def test_a_redirect_uri_is_https_or_loopback_and_nothing_else(world: World, uri: str) -> None:
    assert refused(world, redirect_uris=[uri]) == "invalid_redirect_uri"


@pytest.mark.parametrize(
    "uri",
    [
        "https://a.example/cb",
        "https://a.example:8443/cb?tenant=1",
        "http://127.0.0.1/callback",
        "http://127.0.0.1:3000/callback",
        "http://localhost/callback",
        "http://[::1]:3000/callback",
    ],
)
def test_these_redirect_uris_are_welcome(world: World, uri: str) -> None:
    assert world.register(redirect_uris=[uri])["redirect_uris"] == [uri]


def test_a_web_client_has_no_loopback_redirect_uri(world: World) -> None:
    assert refused(world, application_type="web") == "invalid_redirect_uri"
    without = {name: value for name, value in NATIVE.items() if name != "application_type"}
    assert world.auth.post("/register", json=without).json()["error"] == "invalid_redirect_uri", "web is the default"
    for uri in ("https://localhost/cb", "https://127.0.0.1:8443/cb"):
        assert refused(world, application_type="web", redirect_uris=[uri]) == "invalid_redirect_uri"
    for uri in ("https://a.example/cb", "https://localhost.example/cb"):
        assert world.register(application_type="web", redirect_uris=[uri])


@pytest.mark.parametrize("uris", [[], None, "http://127.0.0.1/cb", [None], [["http://127.0.0.1/cb"]], {}, 5])
def test_redirect_uris_is_a_list_of_texts_and_not_empty(world: World, uris: object) -> None:
    assert refused(world, redirect_uris=uris) == "invalid_redirect_uri"


def test_redirect_uris_is_not_left_out(world: World) -> None:
    answer = world.auth.post("/register", json={"token_endpoint_auth_method": "none", "application_type": "native"})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_redirect_uri")


def test_ten_redirect_uris_are_enough(world: World) -> None:
    assert refused(world, redirect_uris=[f"http://127.0.0.1/{n}" for n in range(11)]) == "invalid_redirect_uri"


@pytest.mark.parametrize(
    "changes",
    [
        {"token_endpoint_auth_method": "foo"},
        {"token_endpoint_auth_method": "client_secret_jwt"},
        {"token_endpoint_auth_method": None},
        {"grant_types": ["client_credentials"]},
        {"grant_types": ["client_credentials"], "scope": "admin"},
        {"grant_types": ["implicit"]},
        {"grant_types": []},
        {"grant_types": "authorization_code"},
        {"response_types": ["token"]},
        {"response_types": []},
        {"application_type": "desktop"},
        {"application_type": 1},
        {"client_name": 5},
        {"client_name": None},
        {"client_name": "a\x00b"},
        {"client_name": "a\u202egnp.exe"},
        {"client_name": "x" * 3000},
        {"scope": ["mcp:tools:sentiment"]},
        {"jwks": {"keys": []}, "jwks_uri": "https://a.example/jwks"},
    ],
)
def test_other_metadata_follows_the_rules_too(world: World, changes: dict) -> None:
    assert refused(world, **changes) == "invalid_client_metadata"


@pytest.mark.parametrize("method", ["client_secret_basic", "private_key_jwt"])
def test_a_method_that_is_not_offered_is_not_registered(world: World, method: str) -> None:
    offered = world.announced()["token_endpoint_auth_methods_supported"]
    answer = world.auth.post("/register", json=NATIVE | {"token_endpoint_auth_method": method})
    if method in offered and method.startswith("client_secret"):
        assert len(answer.raise_for_status().json()["client_secret"]) >= 43
    else:
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata"), "or it has no key"


def test_a_lone_surrogate_is_not_a_name(world: World) -> None:
    body = json.dumps(NATIVE | {"client_name": "\ud800"}).encode()
    answer = world.auth.post("/register", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"text"', b"null", b"5", b"\xff\xfe", b"[" * 15_000, b'{"a":' * 2_000, b"9" * 10_000]
)
def test_what_is_not_one_json_object_is_refused(world: World, body: bytes) -> None:
    answer = world.auth.post("/register", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_another_media_type_is_refused(world: World, media_type: str) -> None:
    answer = world.auth.post("/register", content=json.dumps(NATIVE), headers={"Content-Type": media_type})
    assert (answer.status_code, answer.json()["error"]) == (415, "invalid_client_metadata")


def test_a_media_type_may_have_parameters(world: World) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert world.auth.post("/register", content=json.dumps(NATIVE), headers=headers).status_code == 201


@pytest.mark.parametrize("size", [20_000, 1_000_000, 5_000_000])
def test_a_registration_is_small(world: World, size: int) -> None:
    answer = world.auth.post("/register", json=NATIVE | {"client_name": "x" * size})
    assert (answer.status_code, answer.json()["error"]) == (413, "invalid_client_metadata")
    assert world.register()


def test_registering_is_a_post(world: World) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = world.auth.request(method, "/register")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
