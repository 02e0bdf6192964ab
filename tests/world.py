"""A step in process: its servers behind test clients, its modules fresh, and the words of an honest client."""

import base64
import contextlib
import functools
import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from types import ModuleType
from urllib.parse import parse_qsl, urlsplit

import httpx2
import jwt
import uvicorn
from starlette.testclient import TestClient

from attacks.loaded import Loaded
from shared.addresses import ISSUER, RESOURCE
from shared.browser import Form
from tools.catalogue import step_named

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # the pair of RFC 7636, appendix B
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
CALLBACK = "http://127.0.0.1:4567/callback"
NATIVE = {
    "client_name": "A test",
    "application_type": "native",
    "redirect_uris": ["http://127.0.0.1/callback"],
    "token_endpoint_auth_method": "none",
}
LIST_TOOLS = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/list",
    "params": {
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "a test", "version": "0"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    },
}
MCP_HEADERS = {
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": "2026-07-28",
    "Mcp-Method": "tools/list",
}


class World:
    """`auth` and `mcp` speak HTTP to the servers of a step; `auth_server`, `tokens`, `mcp_server` are their modules."""

    def __init__(self, number: str):
        self.number = number
        self.stack = contextlib.ExitStack()
        self.loaded = self.stack.enter_context(Loaded(step_named(number)))
        self.clock = self.loaded.clock

    def __enter__(self) -> "World":
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    @functools.cached_property
    def auth_server(self) -> ModuleType:
        return self.loaded.module("auth_server")

    @functools.cached_property
    def tokens(self) -> ModuleType:
        return self.loaded.module("tokens")

    @functools.cached_property
    def auth(self) -> TestClient:
        client = TestClient(self.auth_server.app, base_url=ISSUER, follow_redirects=False)
        return self.stack.enter_context(client)

    @functools.cached_property
    def mcp_server(self) -> ModuleType:
        module = self.loaded.module("mcp_server")
        if hasattr(module, "http"):
            module.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(self.auth_server.app))
        return module

    @functools.cached_property
    def mcp(self) -> TestClient:
        client = TestClient(self.mcp_server.app, base_url=RESOURCE.removesuffix("/mcp"), follow_redirects=False)
        return self.stack.enter_context(client)

    def connect(self, authorization_server: object) -> None:
        """Whom the MCP server reaches when it asks for keys."""
        self.mcp_server.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(authorization_server))

    # the words of an honest client

    def register(self, **changes: object) -> dict:
        return self.auth.post("/register", json=NATIVE | changes).raise_for_status().json()

    def ask(self, client_id: str, **changes: str | None) -> dict[str, str]:
        """An authorization request; a change to None leaves the parameter out."""
        ask = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": CALLBACK,
            "scope": "mcp:tools:sentiment mcp:resources:customer-data:read",
            "state": "the state",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "resource": RESOURCE,
        }
        return {name: value for name, value in (ask | changes).items() if value is not None}

    def consent(
        self, ask: dict, username: str = "alice", decision: str = "allow", **changes: object
    ) -> httpx2.Response:
        page = self.auth.get("/authorize", params=ask)
        assert page.status_code == 200, page.text
        fields: dict[str, object] = {}
        for name, value in Form(page.text).fields:
            fields.setdefault(name, [])
            fields[name].append(value)
        password = {"alice": "wonderland", "bob": "builder"}.get(username, "")
        fields |= {"username": username, "password": password, "decision": decision} | changes
        return self.auth.post("/consent", data=fields)

    def code(self, client_id: str, **changes: str) -> str:
        return answer_in(self.consent(self.ask(client_id, **changes)))["code"]

    def redeem(self, client_id: str, code: str, **changes: str | None) -> httpx2.Response:
        form = {
            "grant_type": "authorization_code",
            "client_id": client_id,
            "code": code,
            "code_verifier": VERIFIER,
            "resource": RESOURCE,
        }
        return self.auth.post("/token", data={k: v for k, v in (form | changes).items() if v is not None})

    def access_token(self, username: str = "alice", resource: str = RESOURCE) -> str:
        client_id = self.register()["client_id"]
        code = answer_in(self.consent(self.ask(client_id, resource=resource), username))["code"]
        return self.redeem(client_id, code, resource=resource).raise_for_status().json()["access_token"]

    def list_tools(self, *authorization: str, **options: object) -> httpx2.Response:
        headers = [*MCP_HEADERS.items(), *(("Authorization", value) for value in authorization)]
        return self.mcp.post("/mcp", json=LIST_TOOLS, headers=headers, **options)

    def honest_flow_works(self) -> bool:
        if self.number < "04":
            return self.mcp.post("/mcp").status_code == 401
        return self.list_tools(f"Bearer {self.access_token()}").status_code == 200

    # the words of a forger

    def claims(self, **changes: object) -> dict:
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": RESOURCE,
            "sub": "alice",
            "client_id": "some client",
            "scope": "mcp:tools:sentiment",
            "iat": now,
            "exp": now + 600,
            "jti": "some number",
        }
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def signed(self, claims: dict, key: object = None, algorithm: str = "RS256", **header: object) -> str:
        """A token signed by the authorization server's own key unless another is given."""
        header = {"typ": "at+jwt", "kid": self.tokens.key_id} | header
        return jwt.encode(claims, key or self.tokens.signing_key, algorithm, header)


@contextlib.contextmanager
def served(app: object) -> Iterator[str]:
    """The app on a real socket, for those who need one; its origin."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()


def answer_in(redirect: httpx2.Response) -> dict[str, str]:
    assert redirect.status_code == 303, (redirect.status_code, redirect.text)
    return dict(parse_qsl(urlsplit(redirect.headers["location"]).query))


def raw_jwt(header: dict, claims: dict, signature: bytes = b"") -> str:
    """Three parts, whatever a library thinks of them."""
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def s256(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
