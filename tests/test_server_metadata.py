"""Step 02 on the wire: the authorization server says what it can do, and only that."""

import pytest

from shared.addresses import NEIGHBOUR
from tests.world import ISSUER, RESOURCE, World

pytestmark = pytest.mark.wire

PATH = "/.well-known/oauth-authorization-server"
ALL = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "response_types_supported": ["code"],
    "grant_types_supported": ["authorization_code"],
    "code_challenge_methods_supported": ["S256"],
}
METHODS = ["none", "client_secret_post", "client_secret_basic", "private_key_jwt"]
GROWS = {
    "02": {"token_endpoint_auth_methods_supported": ["none"], "protected_resources": [RESOURCE]},
    "03": {
        "token_endpoint_auth_methods_supported": ["none", "client_secret_post"],
        "registration_endpoint": f"{ISSUER}/register",
        "scopes_supported": [
            "mcp:tools:sentiment",
            "mcp:resources:customer-data:read",
            "mcp:exec:workflows:rebalance",
        ],
    },
    "04": {"authorization_response_iss_parameter_supported": True},
    "05": {"jwks_uri": f"{ISSUER}/jwks", "protected_resources": [RESOURCE, NEIGHBOUR]},
    "06": {
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "scopes_supported": [
            "mcp:tools:sentiment",
            "mcp:resources:customer-data:read",
            "mcp:exec:workflows:rebalance",
            "mcp:resources:customer-data",
        ],
    },
    "07": {
        "revocation_endpoint": f"{ISSUER}/revoke",
        "revocation_endpoint_auth_methods_supported": ["none", "client_secret_post"],
    },
    "08": {
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "token_endpoint_auth_methods_supported": METHODS,
        "revocation_endpoint_auth_methods_supported": METHODS,
        "token_endpoint_auth_signing_alg_values_supported": ["RS256", "ES256"],
        "revocation_endpoint_auth_signing_alg_values_supported": ["RS256", "ES256"],
    },
    "finished": {
        "scopes_supported": [
            "mcp:tools:sentiment",
            "mcp:resources:customer-data:read",
            "mcp:exec:workflows:rebalance",
            "mcp:resources:customer-data",
            "offline_access",
        ],
        "introspection_endpoint": f"{ISSUER}/introspect",
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "client_id_metadata_document_supported": True,
        "response_modes_supported": ["query"],
    },
}


@pytest.mark.since("02")
def test_the_metadata_says_what_the_server_can_do(world: World) -> None:
    expected = dict(ALL)
    for number, more in GROWS.items():
        if number <= world.number:
            expected |= more
    answer = world.auth.get(PATH)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "public, max-age=3600"
    assert answer.json() == expected


@pytest.mark.since("02")
def test_the_issuer_is_one_string_everywhere(world: World) -> None:
    assert world.auth.get(PATH).json()["issuer"] == ISSUER
    assert world.mcp.get("/.well-known/oauth-protected-resource").json()["authorization_servers"] == [ISSUER]
    assert not ISSUER.endswith("/")


@pytest.mark.since("02")
def test_every_endpoint_that_is_announced_exists(world: World) -> None:
    for name, url in world.auth.get(PATH).json().items():
        if name.endswith(("_endpoint", "_uri")):
            assert world.auth.get(url).status_code != 404, name


@pytest.mark.steps("02", "03")
def test_what_is_announced_and_not_built_says_so(world: World) -> None:
    assert world.auth.get("/authorize").status_code == 501
    assert world.auth.post("/token").status_code == 501


@pytest.mark.since("02")
def test_the_metadata_is_only_read(world: World) -> None:
    assert world.auth.post(PATH).status_code == 405
