"""A step's servers within reach: in this process behind test clients, or wherever they listen. And an honest client.

`auth` and `mcp` are connections to the two servers. The honest words (`register`, `code`, `tokens`, `list_tools`, …)
prepare an attack, and show afterwards that nobody else was harmed.
"""

import asyncio
import contextlib
import functools
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from urllib.parse import urlencode, urljoin

import anyio
import httpx2
import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from starlette.testclient import TestClient

from attacks.core import NotHere, answer_in, json_object
from attacks.loaded import Clock, Loaded
from shared.addresses import ISSUER, RESOURCE, UPSTREAM
from shared.browser import Form
from shared.serving import LogRequests
from shared.shortening import SECRETS
from tools.catalogue import Step, step_named

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # the pair of RFC 7636, appendix B
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
CALLBACK = "http://127.0.0.1:4567/callback"
PASSWORDS = {"alice": "wonderland", "bob": "builder"}
BASIC = "mcp:tools:sentiment mcp:resources:customer-data:read"
REBALANCE = "mcp:exec:workflows:rebalance"
NATIVE = {
    "client_name": "A test",
    "application_type": "native",
    "redirect_uris": ["http://127.0.0.1/callback"],
    "token_endpoint_auth_method": "none",
}
MACHINE = {"client_name": "A machine", "grant_types": ["client_credentials"]}
NEWEST = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": NEWEST,
    "io.modelcontextprotocol/clientInfo": {"name": "a test", "version": "0"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
LIST_TOOLS = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}}
ACCEPT = {"Accept": "application/json, text/event-stream"}
MCP_HEADERS = ACCEPT | {"MCP-Protocol-Version": NEWEST, "Mcp-Method": "tools/list"}
for name in ("UPSTREAM_TOKEN", "INITIAL_ACCESS_TOKEN"):
    os.environ.setdefault(name, secrets.token_urlsafe(32))  # what the servers share when they are processes
ONE_REQUEST = httpx2.Limits(max_keepalive_connections=0)  # a connection: after a crash the next one is a new one
HOME = ("127.0.0.1", 50_000)  # where the honest client sits
ELSEWHERE = ("203.0.113.66", 50_000)


def fields_of(page: httpx2.Response) -> dict[str, list[str]]:
    """What the form of this page would send."""
    found: dict[str, list[str]] = {}
    for name, value in Form(page.text).fields:
        found.setdefault(name, []).append(value)
    return found


class World:
    """The words. Where the servers are is for those who inherit."""

    number: str
    issuer = ISSUER
    resource = RESOURCE
    auth: httpx2.Client
    mcp: httpx2.Client
    clock: Clock
    loaded: Loaded

    def __enter__(self) -> "World":
        self.exchanges: list[httpx2.Response] = []
        self.secrets: set[str] = {VERIFIER, *PASSWORDS.values()}
        return self

    def browser(self, address: tuple[str, int] = HOME) -> httpx2.Client:
        """Another browser: no cookies of ours, and perhaps another address."""
        raise NotImplementedError

    def caller(self, address: tuple[str, int] = ELSEWHERE) -> httpx2.Client:
        """Another connection to the MCP server."""
        raise NotImplementedError

    def signed(self, claims: dict, key: object = None, algorithm: str = "RS256", **header: object) -> str:
        """A token as the authorization server would sign it, whatever it says."""
        raise NotImplementedError

    def later(self, seconds: float) -> None:
        """Let time pass for the servers."""
        raise NotImplementedError

    def at_once(self, count: int, path: str, form: dict[str, str], address: tuple[str, int]) -> list[httpx2.Response]:
        """Forms for the authorization server, from one address. All have begun before the first is complete."""
        raise NotHere("needs a second address")

    def upstream(self) -> tuple[httpx2.Client, list[httpx2.Request]]:
        """A connection to the API behind the MCP server, and what the MCP server asks there from now on."""
        raise NotHere("no API behind it")

    def remember(self, answer: httpx2.Response) -> None:
        """Every exchange is kept, and every secret in it is known: none may turn up in a log or an error."""
        answer.read()
        self.exchanges.append(answer)
        found = json_object(answer) | answer_in(answer)
        self.secrets |= {value for name, value in found.items() if name in SECRETS and isinstance(value, str)}

    # the words of an honest client

    def register(self, **changes: object) -> dict:
        return self.auth.post("/register", json=NATIVE | changes).raise_for_status().json()

    def announced(self) -> dict:
        """What the authorization server says of itself."""
        return self.auth.get("/.well-known/oauth-authorization-server").raise_for_status().json()

    def resource_server(self) -> dict[str, str]:
        """What a resource server shows when it asks about a token that was made for it."""
        raise NotHere("needs the credentials of a resource server")

    def wrong_password(self, ask: dict, **typed: object) -> httpx2.Response:
        """The page that comes after somebody has typed another password than their own."""
        typed = {"username": "alice", "password": "wrong", "decision": "allow"} | typed
        return self.auth.post("/consent", data=self.page(ask) | typed)

    def cancel(
        self, ask: dict, opened: httpx2.Client | None = None, answered: httpx2.Client | None = None
    ) -> httpx2.Response:
        """Open the page, and say no without signing in; perhaps in another browser than the one that was asked."""
        opened = opened or self.browser()
        form = Form(opened.get("/authorize", params=ask).text)
        return (answered or opened).post(form.action, data=dict(form.fields) | {"decision": "deny"})

    def register_machine(self, **changes: object) -> dict:
        """A program that asks for itself. Its operator registers it, and shows that they may."""
        if "client_credentials" not in self.announced().get("grant_types_supported", []):
            raise NotHere("no client credentials")
        token = self.initial_access_token()
        if not token:
            raise NotHere("needs INITIAL_ACCESS_TOKEN, the operator's")
        self.secrets.add(token)
        operator = {"Authorization": f"Bearer {token}"}
        return self.auth.post("/register", json=MACHINE | changes, headers=operator).raise_for_status().json()

    def initial_access_token(self) -> str:
        return os.environ.get("INITIAL_ACCESS_TOKEN", "")

    def ask(self, client_id: str, **changes: str | None) -> dict[str, str]:
        """An authorization request; a change to None leaves the parameter out."""
        ask = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": CALLBACK,
            "scope": BASIC,
            "state": "the state",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "resource": self.resource,
        }
        return {name: value for name, value in (ask | changes).items() if value is not None}

    def consent_page(self, ask: dict, browser: httpx2.Client | None = None, username: str = "alice") -> httpx2.Response:
        """The page on which this person decides. A step asks who they are on the same page."""
        page = (browser or self.auth).get("/authorize", params=ask)
        assert page.status_code == 200, page.text
        return page

    def page(self, ask: dict, browser: httpx2.Client | None = None, username: str = "alice") -> dict[str, list[str]]:
        """What the form on the consent page would send."""
        return fields_of(self.consent_page(ask, browser, username))

    def sign_in(self, page: httpx2.Response, browser: httpx2.Client, typed: dict[str, object]) -> httpx2.Response:
        """Type name and password into the page that asks for them."""
        form = fields_of(page) | {"decision": "allow"} | typed
        return browser.post(urljoin(str(page.url), Form(page.text).action), data=form)

    def consent(
        self,
        ask: dict,
        username: str = "alice",
        decision: str = "allow",
        browser: httpx2.Client | None = None,
        **changes: object,
    ) -> httpx2.Response:
        """Open the page, sign in, press a button."""
        fields = self.page(ask, browser, username) | {"username": username, "password": PASSWORDS.get(username, "")}
        return (browser or self.auth).post("/consent", data=fields | {"decision": decision} | changes)

    def code(self, client_id: str, username: str = "alice", **changes: str) -> str:
        return answer_in(self.consent(self.ask(client_id, **changes), username))["code"]

    def redeem(self, client_id: str, code: str, **changes: object) -> httpx2.Response:
        form = {
            "grant_type": "authorization_code",
            "client_id": client_id,
            "code": code,
            "code_verifier": VERIFIER,
            "resource": self.resource,
        }
        return self.auth.post("/token", data={k: v for k, v in (form | changes).items() if v is not None})

    def tokens(self, client_id: str, username: str = "alice", **changes: str) -> dict:
        """The whole answer of /token, for a code that this person allows."""
        code = self.code(client_id, username, **changes)
        changes = {name: value for name, value in changes.items() if name == "resource"}
        return self.redeem(client_id, code, **changes).raise_for_status().json()

    def access_token(self, username: str = "alice", **changes: str) -> str:
        return self.tokens(self.register()["client_id"], username, **changes)["access_token"]

    def with_refresh(self, username: str = "alice", **changes: str) -> tuple[str, dict]:
        """A client that may refresh, and the answer of /token with its first refresh token."""
        client = self.register(grant_types=["authorization_code", "refresh_token"])
        found = self.tokens(client["client_id"], username, **changes)
        if "refresh_token" not in found:
            raise NotHere("no refresh tokens")
        return client["client_id"], found

    def refresh(self, client_id: str, refresh_token: str, **changes: object) -> httpx2.Response:
        form = {"grant_type": "refresh_token", "client_id": client_id, "refresh_token": refresh_token}
        return self.auth.post("/token", data={k: v for k, v in (form | changes).items() if v is not None})

    def list_tools(self, *authorization: str, **options: object) -> httpx2.Response:
        """`tools/list` with these Authorization headers: none, one, or more than there should be."""
        headers = [*MCP_HEADERS.items(), *(("Authorization", value) for value in authorization)]
        return self.mcp.post("/mcp", json=LIST_TOOLS, headers=headers, **options)

    def send(self, token: str, method: str, name: str = "", headers: dict | None = None, /, **params: object):
        """One MCP message of the newest protocol; a header set to None is left out."""
        wanted = MCP_HEADERS | {"Mcp-Method": method, "Authorization": f"Bearer {token}"}
        wanted |= ({"Mcp-Name": name} if name else {}) | (headers or {})
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params | {"_meta": META}}
        kept = {header: value for header, value in wanted.items() if value is not None}
        return self.mcp.post("/mcp", json=message, headers=kept)

    def call(self, token: str, tool: str, headers: dict | None = None, **arguments: object) -> httpx2.Response:
        return self.send(token, "tools/call", tool, headers, name=tool, arguments=arguments)

    def read(self, token: str, uri: str, headers: dict | None = None) -> httpx2.Response:
        return self.send(token, "resources/read", uri, headers, uri=uri)

    def honest_flow_works(self) -> bool:
        if self.number < "04":
            return self.mcp.post("/mcp").status_code == 401
        return self.list_tools(f"Bearer {self.access_token()}").status_code == 200

    # the words of a forger

    def claims(self, **changes: object) -> dict:
        now = int(time.time() + self.clock.ahead)
        claims = {
            "iss": self.issuer,
            "aud": self.resource,
            "sub": "alice",
            "client_id": "some client",
            "scope": BASIC,
            "iat": now,
            "exp": now + 600,
            "jti": "some number",
        }
        return {name: value for name, value in (claims | changes).items() if value is not None}


class InProcess(World):
    """A step in this process. `auth_server`, `mcp_server`, `bearer` are its modules."""

    def __init__(self, number: str, raise_server_exceptions: bool = True):
        self.number = number
        self.loud = raise_server_exceptions
        self.stack = contextlib.ExitStack()
        self.loaded = self.stack.enter_context(Loaded(step_named(number)))
        self.clock = self.loaded.clock

    @property
    def step(self) -> Step:
        return self.loaded.step

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    @functools.cached_property
    def auth_server(self) -> ModuleType:
        return self.loaded.module("auth_server")

    @functools.cached_property
    def token_room(self) -> ModuleType:
        return self.loaded.module("tokens")

    @property
    def mcp_server(self) -> ModuleType:
        return self.door[0]

    @property
    def bearer(self) -> ModuleType:
        return self.door[1]

    @functools.cached_property
    def door(self) -> tuple[ModuleType, ModuleType]:
        """The MCP server, and what decides for it who somebody is. Each asks others, from some step on."""
        modules = self.loaded.module("mcp_server"), self.loaded.module("bearer")
        for module in modules:
            if hasattr(module, "http"):
                module.http = self.reaching(self.auth_server.app)
        return modules

    def reaching(self, authorization_server: object) -> httpx2.AsyncClient:
        """What the MCP server asks with: it reaches this authorization server, and the API behind if there is one."""
        reachable = {self.issuer: authorization_server}
        if "upstream.py" in self.step.files:
            reachable[UPSTREAM] = self.loaded.module("upstream").app
        return httpx2.AsyncClient(mounts={url: httpx2.ASGITransport(app) for url, app in reachable.items()})

    def connect(self, authorization_server: object) -> None:
        """Whom the MCP server reaches when it asks for keys."""
        self.bearer.http = self.reaching(authorization_server)

    @functools.cached_property
    def auth(self) -> TestClient:
        return self.stack.enter_context(self.browser())

    @functools.cached_property
    def mcp(self) -> TestClient:
        return self.stack.enter_context(self.caller(HOME))

    def browser(self, address: tuple[str, int] = HOME) -> TestClient:
        return self.client(self.auth_server.app, self.issuer, address)

    def caller(self, address: tuple[str, int] = ELSEWHERE) -> TestClient:
        return self.client(self.mcp_server.app, self.resource.removesuffix("/mcp"), address)

    def client(self, app: object, origin: str, address: tuple[str, int]) -> TestClient:
        found = TestClient(LogRequests(app), origin, self.loud, follow_redirects=False, client=address)
        found.event_hooks = {"response": [self.remember]}
        return found

    @property
    def signing_key(self) -> RSAPrivateKey:
        """What the authorization server signs with."""
        return self.token_room.signing_key

    @property
    def key_id(self) -> str | None:
        return getattr(self.token_room, "key_id", None)

    def new_signing_key(self) -> None:
        """The authorization server signs with another key from now on, and shows only that one."""
        self.token_room.signing_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.token_room.key_id = "the new one"

    def signed(self, claims: dict, key: object = None, algorithm: str = "RS256", **header: object) -> str:
        header = {"typ": "at+jwt"} | ({"kid": self.key_id} if self.key_id else {}) | header
        return jwt.encode(claims, key or self.signing_key, algorithm, header)

    def upstream(self) -> tuple[TestClient, list[httpx2.Request]]:
        if "upstream.py" not in self.step.files:
            return super().upstream()
        heard: list[httpx2.Request] = []

        async def listen(request: httpx2.Request) -> None:
            if str(request.url).startswith(UPSTREAM):
                heard.append(request)

        self.mcp_server.http.event_hooks = {"request": [listen]}
        return self.client(self.loaded.module("upstream").app, UPSTREAM, ELSEWHERE), heard

    def later(self, seconds: float) -> None:
        self.clock.ahead += seconds

    def at_once(self, count: int, path: str, form: dict[str, str], address: tuple[str, int]) -> list[httpx2.Response]:
        begun: list[None] = []

        async def held_back() -> AsyncIterator[bytes]:
            begun.append(None)
            with anyio.move_on_after(0.2):  # seconds: some may have been refused before anybody read them
                while len(begun) < count:
                    await anyio.sleep(0.01)
            yield urlencode(form).encode()

        async def all_of_them() -> list[httpx2.Response]:
            transport = httpx2.ASGITransport(LogRequests(self.auth_server.app), client=address)
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            async with httpx2.AsyncClient(transport=transport, base_url=self.issuer, headers=headers) as browser:
                return await asyncio.gather(*(browser.post(path, content=held_back()) for _ in range(count)))

        answers = asyncio.run(all_of_them())
        for answer in answers:
            self.remember(answer)
        return answers

    def initial_access_token(self) -> str:
        return getattr(self.loaded.module("clients"), "INITIAL_ACCESS_TOKEN", "") or super().initial_access_token()


class Remote(World):
    """Servers that listen somewhere. Their clock is their own, and so is their key."""

    def __init__(self, number: str, issuer: str, resource: str):
        self.number, self.issuer, self.resource = number, issuer, resource
        self.clock = Clock()
        self.stack = contextlib.ExitStack()

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    @functools.cached_property
    def auth(self) -> httpx2.Client:
        return self.browser()

    @functools.cached_property
    def mcp(self) -> httpx2.Client:
        return self.caller()

    def browser(self, address: tuple[str, int] = HOME) -> httpx2.Client:
        if address != HOME:
            raise NotHere("needs a second address")
        return self.client(self.issuer)

    def caller(self, address: tuple[str, int] = HOME) -> httpx2.Client:
        return self.client(self.resource.removesuffix("/mcp"))

    def client(self, origin: str) -> httpx2.Client:
        hooks = {"response": [self.remember]}
        client = httpx2.Client(base_url=origin, timeout=10, event_hooks=hooks, limits=ONE_REQUEST)
        return self.stack.enter_context(client)

    def signed(self, claims: dict, key: object = None, algorithm: str = "RS256", **header: object) -> str:
        raise NotHere("needs the key of the authorization server")

    def later(self, seconds: float) -> None:
        raise NotHere("needs the clock of the servers")


@contextlib.contextmanager
def listening_to_logs() -> Iterator[list[str]]:
    """Everything that the servers write down while the block runs."""
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(self.format(record))

    listener, root = Listener(), logging.getLogger()
    before = root.level, root.handlers
    root.handlers = [listener]
    root.setLevel(logging.INFO)
    for talkative in ("mcp", "httpx2", "httpcore2"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    try:
        yield said
    finally:
        root.level, root.handlers = before
