"""A small net for the finished client: one MCP server and its authorization servers, and a visitor who says yes."""

import json
import secrets
import time
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
from filelock import FileLock, Timeout

from client.belongings import Belongings
from client.callback import Callback
from client.options import Options
from client.person import Person
from client.storage import File, Store
from shared.stop import Stop

RESOURCE = "http://localhost:8000/mcp"
ISSUER = "http://localhost:9000"
OTHER = "http://localhost:9900"
PRM_PATH = "http://localhost:8000/.well-known/oauth-protected-resource/mcp"
PRM_ROOT = "http://localhost:8000/.well-known/oauth-protected-resource"
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "rebalance", "arguments": {}}}


def as_url(issuer: str = ISSUER) -> str:
    return f"{issuer}/.well-known/oauth-authorization-server"


def metadata(issuer: str = ISSUER, **changes: object) -> dict:
    found = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "registration_endpoint": f"{issuer}/register",
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
    }
    return {name: value for name, value in (found | changes).items() if value is not None}


class Net:
    """Documents by URL. `/register`, `/authorize` and `/token` of every issuer work; the MCP server lets tokens in."""

    def __init__(self) -> None:
        self.documents: dict[str, object] = {
            PRM_PATH: {"resource": RESOURCE, "authorization_servers": [ISSUER]},
            as_url(): metadata(),
            as_url(OTHER): metadata(OTHER),
        }
        self.fixed: dict[str, httpx2.Response] = {}  # by URL, whatever the method
        self.challenge = 'Bearer scope="a b"'
        self.needs: set[str] = set()  # scopes; without them 403
        self.good: dict[str, dict] = {}  # access tokens that the MCP server accepts, and what they are for
        self.refresh_tokens: set[str] = set()
        self.clients: set[str] = set()
        self.grants = True  # whether a token carries what was asked for
        self.lifetime = 600  # seconds
        self.answer: dict[str, str | None] = {}  # changes to what the browser brings back; None takes away
        self.asked: list[httpx2.Request] = []
        self.visits: list[dict[str, str]] = []

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(httpx2.Request(request.method, request.url, headers=request.headers, content=request.content))
        url = str(request.url)
        if url in self.fixed:
            return self.fixed[url]
        if url == RESOURCE:
            return self.mcp(request)
        if url in self.documents and request.method == "GET":
            return httpx2.Response(200, json=self.documents[url])
        place = {"/register": self.register, "/token": self.token}.get(request.url.path)
        return place(request) if place and request.method == "POST" else httpx2.Response(404)

    def mcp(self, request: httpx2.Request) -> httpx2.Response:
        token = self.good.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
        if not token or token["until"] < time.time():
            return httpx2.Response(401, headers={"WWW-Authenticate": self.challenge})
        if not self.needs <= set(token["scope"].split()):
            why = f'Bearer error="insufficient_scope", scope="{" ".join(sorted(self.needs))}"'
            return httpx2.Response(403, headers={"WWW-Authenticate": why})
        return httpx2.Response(200, json={"ok": True})

    def register(self, request: httpx2.Request) -> httpx2.Response:
        client_id = f"client {len(self.clients) + 1} of {request.url.port}"
        self.clients.add(client_id)
        return httpx2.Response(201, json=json.loads(request.content) | {"client_id": client_id})

    def token(self, request: httpx2.Request) -> httpx2.Response:
        form = form_in(request)
        if form.get("client_id") not in self.clients:
            return httpx2.Response(401, json={"error": "invalid_client"})
        if form["grant_type"] == "refresh_token" and form["refresh_token"] not in self.refresh_tokens:
            return httpx2.Response(400, json={"error": "invalid_grant"})
        self.refresh_tokens.discard(form.get("refresh_token", ""))
        return httpx2.Response(200, json=self.new_tokens(self.visits[-1].get("scope", "") if self.visits else "a b"))

    def new_tokens(self, scope: str) -> dict:
        access, refresh = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        self.good[access] = {"scope": scope if self.grants else "a b", "until": time.time() + self.lifetime}
        self.refresh_tokens.add(refresh)
        answer = {"access_token": access, "token_type": "Bearer", "expires_in": self.lifetime, "scope": scope}
        return answer | {"refresh_token": refresh}

    def visit(self, url: str) -> str:
        """A person opens the page and says yes: the address that the browser ends at."""
        ask = dict(parse_qsl(urlsplit(url).query))
        self.visits.append(ask | {"url": url})
        issuer = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}"
        answer = {"code": secrets.token_urlsafe(16), "state": ask["state"], "iss": issuer} | self.answer
        kept = {name: value for name, value in answer.items() if value is not None}
        return f"{ask['redirect_uri']}?{urlencode(kept)}"

    # what was asked

    def urls(self, issuer: str = "") -> list[str]:
        return [str(request.url) for request in self.asked if str(request.url).startswith(issuer)]

    def forms(self) -> list[dict[str, str]]:
        return [form_in(request) for request in self.asked if request.url.path == "/token"]

    def registered(self) -> list[dict]:
        return [json.loads(request.content) for request in self.asked if request.url.path == "/register"]


def nobody_holds(path: Path) -> bool:
    """Whether this lock is free."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    lock.release()
    return True


def form_in(request: httpx2.Request) -> dict[str, str]:
    return dict(parse_qsl(request.content.decode()))


class Visitor(Callback):
    """The page listens as always; the browser is the net's."""

    net: Net

    async def send(self, url: str) -> None:
        self.state = dict(parse_qsl(urlsplit(url).query))["state"].encode()
        self.said_goodbye.set()
        assert self.take(self.net.visit(url))


class User:
    """A person at one computer. `call` is one tool call; each `User` with the same folder is another process."""

    def __init__(self, net: Net, folder: Path, asked: tuple[str, str] | None = None, **options: object) -> None:
        self.net, self.said, self.answers = net, [], asked
        self.store = Store(File(folder / "store.json"), folder)
        about = Options(RESOURCE, **options)
        self.belongings = Belongings(self.store, about, self.said.append)
        self.provider = Person(about, self.belongings, self.ask)
        self.provider.open_callback = self.open_callback

    def open_callback(self, port: int) -> Callback:
        visitor = Visitor(self.said.append, False, port)
        visitor.net = self.net
        return visitor

    async def ask(self, issuer: str) -> tuple[str, str] | None:
        self.said.append(f"asked for {issuer}")
        return self.answers

    def http(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(auth=self.provider, transport=httpx2.MockTransport(self.net.handle))

    async def call(self, **more: object) -> httpx2.Response:
        headers = {"MCP-Protocol-Version": "2026-07-28"}
        async with self.http() as http:
            return await http.post(RESOURCE, json=CALL, headers=headers, follow_redirects=False, **more)

    async def refused(self) -> str:
        """The sentence with which a call ends."""
        try:
            answer = await self.call()
        except Stop as no:
            return str(no)
        raise AssertionError(f"it went through: {answer.status_code}")
