"""The finished MCP server in this process, an authorization server of a few lines before it, and a clock to turn."""

import contextlib
import functools
import importlib
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import parse_qsl

import anyio
import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from attacks.world import LIST_TOOLS, MCP_HEADERS, META
from mcp_server.market import BASIC_SCOPES, create_app
from mcp_server.oauth import Settings
from shared.addresses import ISSUER, RESOURCE
from shared.audit import Trail
from tools.clock import Clock

BASIC = " ".join(BASIC_SCOPES)
TIMED = ("api_keys", "config", "keys", "middleware", "tokens")
one_rsa = functools.cache(lambda number: rsa.generate_private_key(public_exponent=65537, key_size=2048))
one_ec = functools.cache(lambda number: ec.generate_private_key(ec.SECP256R1()))


class Lines(Trail):
    """An audit trail in the hand."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict] = []

    def line(self, about: dict) -> None:
        self.lines.append(about)


class Issuer:
    """Metadata, keys, introspection. It counts, and can be down."""

    def __init__(self) -> None:
        self.status, self.asked, self.asked_about = 200, 0, list[dict]()
        self.takes = 0.0  # seconds
        self.metadata: dict = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks"}
        self.keys: list[dict] = []
        self.active: dict[str, dict] = {}
        self.private: dict[str, object] = {}
        self.publish("the RSA key", one_rsa(1))
        self.publish("the EC key", one_ec(1))
        self.app = Starlette(
            routes=[
                Route("/.well-known/oauth-authorization-server", self.about),
                Route("/jwks", self.jwks),
                Route("/introspect", self.introspect, methods=["POST"]),
            ]
        )

    def publish(self, kid: str, key: object, **changes: object) -> None:
        kind, alg = (
            (jwt.algorithms.RSAAlgorithm, "RS256")
            if isinstance(key, rsa.RSAPrivateKey)
            else (jwt.algorithms.ECAlgorithm, "ES256")
        )
        public = kind.to_jwk(key.public_key(), as_dict=True)
        self.keys.append(public | {"kid": kid, "alg": alg, "use": "sig"} | changes)
        self.private[kid] = key

    def withdraw(self, kid: str) -> None:
        self.keys = [key for key in self.keys if key["kid"] != kid]

    async def about(self, _: Request) -> Response:
        return JSONResponse(self.metadata, self.status)

    async def jwks(self, _: Request) -> Response:
        self.asked += 1
        await anyio.sleep(self.takes)
        return JSONResponse({"keys": self.keys}, self.status)

    async def introspect(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode()))
        self.asked_about.append(form | {"authorization": request.headers.get("authorization", "")})
        return JSONResponse(self.active.get(form["token"], {"active": False}), self.status)


class Finished:
    """`mcp` is a connection to the server; the rest are words for tests."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.clock, self.issuer, self.trail = Clock(), Issuer(), Lines()
        for name in TIMED:
            monkeypatch.setattr(importlib.import_module(f"mcp_server.oauth.{name}"), "time", self.clock)
        monkeypatch.setattr(importlib.import_module("shared.limits"), "time", self.clock)
        monkeypatch.delenv("UPSTREAM_TOKEN", raising=False)
        self.stack = contextlib.ExitStack()
        self.web = httpx2.AsyncClient(mounts={ISSUER: httpx2.ASGITransport(self.issuer.app)})
        self.start()

    def start(self, app: Starlette | None = None, **changes: object) -> TestClient:
        """Start it anew, with other settings, or another app."""
        self.settings = replace(Settings(required_scopes=BASIC_SCOPES), **changes)
        self.app = app or create_app(self.settings, self.web, self.trail)
        here = {"client": ("127.0.0.1", 50_000), "follow_redirects": False}
        self.mcp = self.stack.enter_context(TestClient(self.app, self.settings.origin, **here))
        return self.mcp

    def later(self, seconds: float) -> None:
        self.clock.ahead += seconds

    def claims(self, **changes: object) -> dict:
        now = int(self.clock.time())
        claims = {"iss": ISSUER, "aud": RESOURCE, "sub": "alice", "client_id": "c", "scope": BASIC, "jti": "j"}
        claims |= {"iat": now, "exp": now + 3600}
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def token(self, kid: str = "the RSA key", header: dict | None = None, **changes: object) -> str:
        key = self.issuer.private[kid]
        algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
        return jwt.encode(self.claims(**changes), key, algorithm, {"typ": "at+jwt", "kid": kid} | (header or {}))

    def list_tools(self, token: str = "", **headers: str) -> httpx2.Response:
        shown = {"Authorization": f"Bearer {token}"} if token else {}
        return self.mcp.post("/mcp", json=LIST_TOOLS, headers=MCP_HEADERS | shown | headers)

    def send(self, method: str, name: str = "", token: str = "", headers: dict | None = None, /, **params: object):
        wanted = MCP_HEADERS | {"Mcp-Method": method} | ({"Mcp-Name": name} if name else {}) | (headers or {})
        if token:
            wanted["Authorization"] = f"Bearer {token}"
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params | {"_meta": META}}
        return self.mcp.post("/mcp", json=message, headers=wanted)

    def call(self, tool: str, token: str = "", headers: dict | None = None, /, **arguments: object) -> httpx2.Response:
        return self.send("tools/call", tool, token, headers, name=tool, arguments=arguments)

    @property
    def memory(self) -> dict:
        """The verified tokens that it remembers."""
        return self.app.user_middleware[0].kwargs["protected"].verifier.memory

    def opens(self, token: str) -> bool:
        return self.list_tools(token).status_code == 200

    def number(self, line: str) -> float:
        """A line of /metrics, by how it begins; 0 if there is none."""
        found = [one for one in self.mcp.get("/metrics").text.splitlines() if one.startswith(line + " ")]
        return float(found[0].rpartition(" ")[2]) if found else 0.0


@contextlib.contextmanager
def finished(monkeypatch: pytest.MonkeyPatch) -> Iterator[Finished]:
    running = Finished(monkeypatch)
    with running.stack:
        yield running
