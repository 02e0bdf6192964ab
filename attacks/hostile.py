"""Servers that lie, and a browser that brings what an attacker wants: for attacks that the client must answer."""

from collections.abc import Callable
from contextlib import contextmanager
from types import ModuleType
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2

from attacks.core import NotHere
from attacks.world import CALLBACK, InProcess, World
from shared.addresses import ISSUER, RESOURCE
from shared.stop import Stop

PRM_URL = RESOURCE.removesuffix("/mcp") + "/.well-known/oauth-protected-resource/mcp"
PRM = {"resource": RESOURCE, "authorization_servers": [ISSUER], "scopes_supported": ["mcp:tools:sentiment"]}
EVIL = "https://evil.example"
TOKENS = {"access_token": "a token", "token_type": "Bearer", "expires_in": 600, "scope": "mcp:tools:sentiment"}
Visit = Callable[[dict[str, str]], dict[str, str]]


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


class Net:
    """Everything the client can reach. It answers by URL, 404 otherwise, and remembers who was asked for what."""

    def __init__(self) -> None:
        self.answers: dict[str, httpx2.Response] = {}
        self.asked: list[httpx2.Request] = []
        self.visited: list[str] = []
        self.http = httpx2.Client(transport=httpx2.MockTransport(self.answer))

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        self.asked.append(request)
        return self.answers.get(str(request.url), httpx2.Response(404))

    def at(self, url: str, document: object, status: int = 200, **headers: str) -> "Net":
        self.answers[url] = httpx2.Response(status, json=document, headers=headers)
        return self

    def urls(self) -> list[str]:
        return [str(request.url) for request in self.asked]

    def was_told(self, secret: str) -> bool:
        """Whether anybody got to read this, in a URL, a header or a body."""
        return any(
            secret in str(request.url) or secret.encode() in request.content or secret in str(request.headers)
            for request in self.asked
        )


def honest_net() -> Net:
    """The two servers as they should be; an attack changes what it needs."""
    net = Net().at(RESOURCE, {}, 401, **{"WWW-Authenticate": f'Bearer resource_metadata="{PRM_URL}"'})
    net.at(PRM_URL, PRM).at(f"{ISSUER}/.well-known/oauth-authorization-server", metadata())
    net.at(f"{ISSUER}/register", {"client_id": "c-1"}, 201)
    return net.at(f"{ISSUER}/token", TOKENS)


def honest_visit(ask: dict[str, str]) -> dict[str, str]:
    """What the authorization server sends a browser back with."""
    return {"code": "the code", "state": ask.get("state", ""), "iss": ISSUER}


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
    return world.loaded.module("client")


def walk(world: World, net: Net, *visits: Visit) -> str:
    """The client's walk up to the token. How it stopped, in its own words; empty if it got a token."""
    client = client_of(world)

    @contextmanager
    def waiting_for_redirect():
        yield FakeCallback(net, list(visits) or [honest_visit])

    client.waiting_for_redirect = waiting_for_redirect
    client.registrations.clear()
    try:
        found, challenge = client.find_resource(net.http, RESOURCE)
        server = client.find_server(net.http, found["authorization_servers"][0])
        registered = client.register(net.http, server)
        pending, code = client.authorize(server, registered, RESOURCE, challenge.get("scope", ""))
        client.redeem(net.http, server, registered, pending, code)
    except (Stop, httpx2.InvalidURL, httpx2.UnsupportedProtocol) as stopped:
        return str(stopped) or "stopped"
    return ""
