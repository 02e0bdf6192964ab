"""The servers that the SDK brings: an MCP server, and its built-in authorization server with one client."""

import contextlib
import time
import warnings
from collections.abc import Iterator

import httpx2
from mcp.server import MCPServer
from mcp.server.auth.provider import AccessToken, AuthorizationCode
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions
from mcp.shared.auth import OAuthClientInformationFull as Client
from pydantic import AnyHttpUrl
from starlette.applications import Starlette
from starlette.testclient import TestClient

from attacks.world import ACCEPT, CALLBACK, CHALLENGE
from shared.addresses import ISSUER, RESOURCE

ORIGIN = RESOURCE.removesuffix("/mcp")
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "a test", "version": "0"},
    },
}
LIST_TOOLS = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
CLIENT = {"client_id": "a client", "token_endpoint_auth_method": "none"}


@contextlib.contextmanager
def open_server(**options: object) -> Iterator[TestClient]:
    """An MCP server without a lock, and a connection to it."""
    with TestClient(MCPServer("a test").streamable_http_app(**options), ORIGIN, headers=ACCEPT) as client:
        yield client


class Verifier:
    """Believes one token, which names a resource and one scope."""

    def __init__(self, resource: str):
        self.resource = resource

    async def verify_token(self, token: str) -> AccessToken | None:
        about = {"client_id": "a client", "scopes": ["read"], "resource": self.resource}
        return AccessToken(token=token, **about) if token == "a-token" else None


@contextlib.contextmanager
def locked_server(resource: str = RESOURCE, **settings: object) -> Iterator[TestClient]:
    """An MCP server behind the SDK's own bearer check."""
    auth = AuthSettings(
        issuer_url=ISSUER, resource_server_url=RESOURCE, **{"validate_token_resource": False} | settings
    )
    server = MCPServer("a test", auth=auth, token_verifier=Verifier(resource))
    with TestClient(server.streamable_http_app(), ORIGIN, headers=ACCEPT) as client:
        yield client


class Provider:
    """What the SDK's authorization server asks about: it knows one client, and one code of that client."""

    async def get_client(self, client_id: str) -> Client | None:
        if client_id != CLIENT["client_id"]:
            return None
        return Client(**CLIENT, redirect_uris=[CALLBACK], scope="read")

    async def load_authorization_code(self, client: Client, code: str) -> AuthorizationCode | None:
        if code != "the code":
            return None
        about = {"client_id": client.client_id, "scopes": ["read"], "expires_at": time.time() + 60}
        about |= {"redirect_uri": CALLBACK, "redirect_uri_provided_explicitly": True}
        return AuthorizationCode(code=code, code_challenge=CHALLENGE, **about)


@contextlib.contextmanager
def sdk_auth_server() -> Iterator[TestClient]:
    from mcp.server.auth.routes import create_auth_routes

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        registration = ClientRegistrationOptions(enabled=True, valid_scopes=["read"])
        routes = create_auth_routes(Provider(), AnyHttpUrl(ISSUER), client_registration_options=registration)
    with TestClient(Starlette(routes=routes), ISSUER, follow_redirects=False) as client:
        yield client


def shown(answer: httpx2.Response) -> str:
    """An answer as `curl -i` shows it, without the headers that say nothing here."""
    telling = ("location", "www-authenticate", "content-type", "retry-after", "allow")
    headers = [f"{name}: {answer.headers[name]}" for name in telling if name in answer.headers]
    return "\n".join([f"HTTP/1.1 {answer.status_code} {answer.reason_phrase}", *headers, "", answer.text])
