"""The SDK's client with its OAuth provider, against the servers of a step, of which one answer is changed."""

from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

import anyio
import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

from attacks.world import CALLBACK, InProcess
from exhibits.logs import line_of
from exhibits.stage import servers
from shared.addresses import ISSUER, RESOURCE

Change = Callable[[httpx2.Response], httpx2.Response]
Changes = dict[str, Change]
METADATA = "/.well-known/oauth-protected-resource/mcp"
SERVER_METADATA = "/.well-known/oauth-authorization-server"


class Changed(httpx2.AsyncBaseTransport):
    """The way to the servers of a step. What they answer on some paths is changed on the way back."""

    def __init__(self, world: InProcess, changes: Changes):
        apps = {ISSUER: world.auth_server.app, RESOURCE.removesuffix("/mcp"): world.mcp_server.app}
        self.ways = {origin: httpx2.ASGITransport(app) for origin, app in apps.items()}
        self.changes = changes

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = await self.ways[f"http://{request.headers['host']}"].handle_async_request(request)
        await answer.aread()
        change = self.changes.get(request.url.path)
        return change(answer) if change else answer


def instead(status: int, body: object = None, **options: object) -> Change:
    """Another answer."""
    content = {"text": body} if isinstance(body, str) else {"json": body}
    return lambda _: httpx2.Response(status, **content, **options)


def saying(**members: object) -> Change:
    """The same JSON object, with other members; None leaves one out."""

    def change(answer: httpx2.Response) -> httpx2.Response:
        found = {name: value for name, value in (answer.json() | members).items() if value is not None}
        return httpx2.Response(answer.status_code, json=found)

    return change


class Forgetful:
    """A store that keeps things for one run."""

    def __init__(self, tokens: OAuthToken | None = None, client: OAuthClientInformationFull | None = None):
        self.tokens, self.client = tokens, client

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client: OAuthClientInformationFull) -> None:
        self.client = client


class Person:
    """Opens the page, allows or denies, and brings the answer back, perhaps with a change."""

    def __init__(self, world: InProcess, decision: str, change: dict[str, str | None]):
        self.world, self.decision, self.change = world, decision, change
        self.answer: dict[str, str] = {}

    async def go(self, url: str) -> None:
        ask = dict(parse_qsl(urlsplit(url).query))
        redirect = self.world.consent(ask, decision=self.decision)
        self.answer = dict(parse_qsl(urlsplit(redirect.headers["location"]).query))

    async def come_back(self) -> AuthorizationCodeResult:
        answer = {"code": "", "state": None, "iss": None} | self.answer | self.change
        return AuthorizationCodeResult(**{name: answer[name] for name in ("code", "state", "iss")})


def about_us(**changes: object) -> OAuthClientMetadata:
    known = {"client_name": "A test", "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"}
    return OAuthClientMetadata(**known | {"grant_types": ["authorization_code", "refresh_token"]} | changes)


def connect(
    changes: Changes | None = None,
    *,
    decision: str = "allow",
    answer: dict[str, str | None] | None = None,
    about: OAuthClientMetadata | None = None,
    **options: object,
) -> str:
    """Let the client connect and list the tools. The last line of its traceback."""
    with servers() as world:
        person = Person(world, decision, answer or {})
        known = {"redirect_handler": person.go, "callback_handler": person.come_back, "storage": Forgetful()}
        provider = OAuthClientProvider(RESOURCE, about or about_us(), **known | options)
        return said_by_client(world, changes or {}, auth=provider)


def said_by_client(world: InProcess, changes: Changes, **options: object) -> str:
    async def list_tools() -> None:
        async with (
            world.mcp_server.app.router.lifespan_context(world.mcp_server.app),
            httpx2.AsyncClient(transport=Changed(world, changes), **options) as http,
            Client(streamable_http_client(RESOURCE, http_client=http)) as client,
        ):
            await client.list_tools()

    try:
        anyio.run(list_tools)
    except Exception as error:
        return "\n".join(line_of(cause) for cause in causes(error))
    return "Nothing went wrong."


def causes(error: BaseException) -> list[BaseException]:
    """What is inside of a group of exceptions, however deep."""
    if isinstance(error, BaseExceptionGroup):
        return [cause for inner in error.exceptions for cause in causes(inner)]
    return [error]
