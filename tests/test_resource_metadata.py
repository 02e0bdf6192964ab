"""Step 01 on the wire: a door that is locked for everybody, and says where the key is."""

import pytest

from tests.world import ISSUER, RESOURCE, World

pytestmark = pytest.mark.wire

PRM = "http://localhost:8000/.well-known/oauth-protected-resource/mcp"
CHALLENGE = (
    f'Bearer realm="mcp", resource_metadata="{PRM}", scope="mcp:tools:sentiment mcp:resources:customer-data:read"'
)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
def test_whoever_comes_without_a_token_is_told_where_to_go(world: World, method: str) -> None:
    answer = world.mcp.request(method, "/mcp")
    assert answer.status_code == 401
    assert answer.headers.get_list("www-authenticate") == [CHALLENGE]
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "authorization",
    ["", "Basic YWxpY2U6d29uZGVybGFuZA==", "Digest username=alice", "Bearer", "bearer", "Negotiate abc", "rubbish"],
)
@pytest.mark.steps("01", "02", "03")
def test_before_tokens_exist_every_authorization_gets_the_same_answer(world: World, authorization: str) -> None:
    answer = world.mcp.post("/mcp", headers={"Authorization": authorization})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, CHALLENGE)


def test_a_megabyte_without_a_token_gets_the_same_answer(world: World) -> None:
    answer = world.mcp.post("/mcp", content=b"x" * 1_000_000, headers={"Content-Type": "text/plain"})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, CHALLENGE)


def test_a_token_in_the_query_is_no_token(world: World) -> None:
    answer = world.mcp.post("/mcp?access_token=eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, CHALLENGE)


@pytest.mark.parametrize("path", ["/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"])
def test_the_metadata_stands_under_the_path_and_at_the_root(world: World, path: str) -> None:
    answer = world.mcp.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "public, max-age=3600"
    assert answer.json() == {
        "resource": RESOURCE,
        "authorization_servers": [ISSUER],
        "scopes_supported": ["mcp:tools:sentiment", "mcp:resources:customer-data:read"],
        "bearer_methods_supported": ["header"],
        "resource_name": "market mood",
    }


def test_the_metadata_is_only_read(world: World) -> None:
    for method in ("POST", "PUT", "DELETE"):
        answer = world.mcp.request(method, "/.well-known/oauth-protected-resource/mcp")
        assert answer.status_code == 405
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


def test_the_name_that_is_not_a_standard_leads_nowhere(world: World) -> None:
    assert world.mcp.get("/.well-known/resource-server").status_code == 404


def test_both_servers_say_that_they_are_well(world: World) -> None:
    for server in (world.auth, world.mcp):
        assert (server.get("/health").status_code, server.get("/health").json()) == (200, {"status": "ok"})


@pytest.mark.steps("01")
def test_the_authorization_server_has_nothing_to_say_yet(world: World) -> None:
    for path in ("/.well-known/oauth-authorization-server", "/authorize", "/token", "/register"):
        assert world.auth.get(path).status_code == 404
