"""Servers that lie, and a browser that brings what an attacker wants: for attacks that the client must answer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from urllib.parse import parse_qsl, quote_plus, urlencode, urlsplit

import httpx2
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from attacks import programs_client
from attacks.core import NotHere, Verdict, as_specified, json_object, otherwise
from attacks.programs import Finished
from attacks.world import CALLBACK, InProcess, World
from shared import console
from shared.addresses import ISSUER, RESOURCE
from shared.stop import Stop

PRM_URL = RESOURCE.removesuffix("/mcp") + "/.well-known/oauth-protected-resource/mcp"
PRM = {"resource": RESOURCE, "authorization_servers": [ISSUER], "scopes_supported": ["mcp:tools:sentiment"]}
EVIL = "https://evil.example"
TOKENS = {"access_token": "a-token", "token_type": "Bearer", "expires_in": 600, "scope": "mcp:tools:sentiment"}
Visit = Callable[[dict[str, str]], dict[str, str]]
TRIPPED = "tripped over "


def metadata(server: str = ISSUER, **changes: object) -> dict:
    """The metadata of an authorization server; a change to None leaves the member out."""
    document = {
        "issuer": server,
        "authorization_endpoint": f"{server}/authorize",
        "token_endpoint": f"{server}/token",
        "registration_endpoint": f"{server}/register",
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
    }
    return {name: value for name, value in (document | changes).items() if value is not None}


def metadata_url(server: str = ISSUER) -> str:
    return f"{server}/.well-known/oauth-authorization-server"


class Net:
    """Everything the client can reach. It answers by URL, 404 otherwise, and remembers who was asked for what."""

    def __init__(self, resource: str = RESOURCE) -> None:
        self.resource = resource
        self.answers: dict[str, httpx2.Response] = {}
        self.asked: list[httpx2.Request] = []
        self.visited: list[str] = []
        self.http = httpx2.Client(transport=httpx2.MockTransport(self.answer))

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        self.asked.append(request)
        if str(request.url) == self.resource and self.lets_in(request):
            return httpx2.Response(200, json={"jsonrpc": "2.0", "id": 1, "result": {}})
        found = self.answers.get(str(request.url), httpx2.Response(404))
        return httpx2.Response(found.status_code, headers=found.headers, content=found.content)

    def lets_in(self, request: httpx2.Request) -> bool:
        """Whoever shows a token that can be had here; unless the answer is another one whatever is shown."""
        shown = request.headers.get("authorization", "").removeprefix("Bearer ")
        given = [json_object(answer).get("access_token") for answer in self.answers.values()]
        return bool(shown) and shown in given and self.answers[self.resource].status_code == 401

    def at(self, url: str, document: object, status: int = 200, **headers: str) -> "Net":
        self.answers[url] = httpx2.Response(status, json=document, headers=headers)
        return self

    def urls(self) -> list[str]:
        return [str(request.url) for request in self.asked]

    def was_told(self, secret: str) -> bool:
        """Whether anybody got to read this, in a URL, a header or a body."""
        told = "\n".join(f"{request.url} {request.headers} {request.content!r}" for request in self.asked)
        return secret in told or quote_plus(secret) in told


def honest_net() -> Net:
    """The two servers as they should be; an attack changes what it needs."""
    net = Net().at(RESOURCE, {}, 401, **{"WWW-Authenticate": f'Bearer resource_metadata="{PRM_URL}"'})
    net.at(PRM_URL, PRM).at(metadata_url(), metadata())
    net.at(f"{ISSUER}/register", {"client_id": "c-1"}, 201)
    return net.at(f"{ISSUER}/token", TOKENS)


def evil_net(**changes: object) -> Net:
    """The MCP server names the attacker's authorization server, which says this of itself."""
    net = honest_net().at(PRM_URL, PRM | {"authorization_servers": [EVIL]})
    net.at(metadata_url(EVIL), metadata(EVIL, **changes))
    return net.at(f"{EVIL}/register", {"client_id": "c-evil"}, 201).at(f"{EVIL}/token", TOKENS)


def honest_visit(ask: dict[str, str]) -> dict[str, str]:
    """What the authorization server sends a browser back with."""
    return {"code": "the code", "state": ask.get("state", ""), "iss": ISSUER}


def bringing(**changes: str | None) -> Visit:
    """A visit like the honest one but for this; None leaves a parameter out."""
    return lambda ask: {name: value for name, value in (honest_visit(ask) | changes).items() if value is not None}


class FakeCallback:
    """The client's callback page, and a browser that brings these visits to it."""

    uri = CALLBACK

    def __init__(self, net: Net, visits: list[Visit]):
        self.net, self.visits, self.ask = net, visits, {}

    def send_user_to(self, url: str) -> None:
        self.net.visited.append(url)
        self.ask = dict(parse_qsl(urlsplit(url).query))

    def wait(self) -> str:
        if not self.visits:
            raise Stop("Nobody else comes to the callback page.")
        return f"{CALLBACK}?{urlencode(self.visits.pop(0)(self.ask))}"


def client_of(world: World) -> ModuleType:
    if not isinstance(world, InProcess):
        raise NotHere("the client is not a server")
    client = world.loaded.module("client")
    if hasattr(client, "token_file"):
        folder = world.stack.enter_context(TemporaryDirectory())
        client.token_file.TOKEN_FILE = Path(folder) / "tokens.json"  # the user's own may be worth something
    return client


@contextmanager
def overheard() -> Iterator[list[str]]:
    """What the client tells the person at the terminal while the block runs."""
    said: list[str] = []
    quiet, console.out.quiet = console.out.quiet, False
    try:
        with console.out.capture() as captured:
            yield said
        said.append(captured.get())
    finally:
        console.out.quiet = quiet


def stopped_with(words: str) -> Verdict:
    """How a walk ended that must not reach a token: with a sentence, and not with a stack trace."""
    if not words:
        return otherwise("the client went on")
    return otherwise(words) if words.startswith(TRIPPED) else as_specified(words)


def give_a_browser(client: ModuleType, net: Net, *visits: Visit) -> None:
    """Whenever the client sends its user somewhere, these visits come to its callback page."""

    @contextmanager
    def waiting_for_redirect() -> Iterator[FakeCallback]:
        yield FakeCallback(net, list(visits) or [honest_visit])

    client.waiting_for_redirect = waiting_for_redirect


def walk(world: World, net: Net, *visits: Visit, keep: bool = False) -> str:
    """The client's walk up to the token. How it stopped, in its own words; empty if it got a token.

    With `keep` it remembers where it has registered before.
    """
    if isinstance(world, Finished):
        return ended(lambda: programs_client.walk(world, net, list(visits) or [honest_visit], keep))
    client = client_of(world)
    give_a_browser(client, net, *visits)
    if not keep:
        client.registrations.clear()

    def to_the_token() -> None:
        found, challenge = client.find_resource(net.http, RESOURCE)
        server = client.find_server(net.http, found["authorization_servers"][0])
        registered = client.register(net.http, server)
        pending, code = client.authorize(server, registered, RESOURCE, challenge.get("scope", ""))
        client.redeem(net.http, server, registered, pending, code)

    return ended(to_the_token)


def ended(run: Callable[[], object]) -> str:
    """How a client stopped, in its own words; empty if it came to its end."""
    try:
        run()
    except (Stop, httpx2.InvalidURL, httpx2.UnsupportedProtocol) as stopped:
        return str(stopped) or "stopped"
    except Exception as error:
        return f"{TRIPPED}{error!r}"
    return ""


class StandIn:
    """The issuer as the MCP server sees it: its metadata, and these keys. It counts who asks for them."""

    def __init__(self, metadata: dict, keys: list[dict]):
        self.metadata, self.keys, self.asked = metadata, keys, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wants_keys = not scope["path"].startswith("/.well-known/")
        self.asked += wants_keys
        await JSONResponse({"keys": self.keys} if wants_keys else self.metadata)(scope, receive, send)


@contextmanager
def standing_in(world: World, keys: list[dict]) -> Iterator[StandIn]:
    """While the block runs, the MCP server asks the stand-in; unless it is out of our reach."""
    stand_in = StandIn(world.auth.get("/.well-known/oauth-authorization-server").json(), keys)
    if not isinstance(world, InProcess):
        yield stand_in
        return
    world.connect(stand_in)
    try:
        yield stand_in
    finally:
        world.connect(world.auth_server.app)
