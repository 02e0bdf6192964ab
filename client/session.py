"""Put together: an HTTP client, the provider that speaks OAuth, and the SDK's `Client`."""

import contextlib
from collections.abc import AsyncIterator, Callable

import httpx2
from mcp import Client
from mcp.client import advertise
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthToken
from mcp.types import Implementation

from shared.stop import Stop

from .belongings import Belongings
from .machines import machine
from .options import Options
from .person import Asked, Person
from .provider import Supervised
from .storage import Store

AWAY = (429, 502, 503, 504)
TIMEOUT = httpx2.Timeout(30, read=300)  # seconds
MACHINES = "io.modelcontextprotocol/oauth-client-credentials"


def belongings_for(options: Options, store: Store, say: Callable[[str], object]) -> Belongings:
    return Belongings(store, options.server, who=(options.client_id or "") if options.is_machine else "", say=say)


def provider_for(options: Options, belongings: Belongings, say: Callable[[str], object], ask: Asked) -> Supervised:
    """The provider that these options ask for: an `httpx2.Auth` for any `httpx2.AsyncClient`."""
    return machine(options, belongings, say) if options.is_machine else Person(options, belongings, say, ask)


def http_client(server: str, auth: httpx2.Auth | None = None) -> httpx2.AsyncClient:
    """Follows no redirect by itself. Raises `Stop` where the SDK would not say that the server is away."""

    async def check_away(answer: httpx2.Response) -> None:
        if str(answer.request.url) == server and answer.status_code in AWAY:
            raise Stop(f"{server} answered {answer.status_code}. Try again later.")

    return httpx2.AsyncClient(auth=auth, timeout=TIMEOUT, event_hooks={"response": [check_away]})


@contextlib.asynccontextmanager
async def connected(options: Options, store: Store, say: Callable[[str], object], ask: Asked) -> AsyncIterator[Client]:
    """Connect, and log in if the server asks for it.

    Raises `Stop`, `mcp.MCPError` and `httpx2.HTTPError`, often inside an `ExceptionGroup`.
    """
    provider = provider_for(options, belongings_for(options, store, say), say, ask)
    extensions = [advertise(MACHINES, {})] if options.is_machine else None
    about_us = Implementation(name="mcp-oauth-client", version="1")
    async with http_client(options.server, provider) as http:
        transport = streamable_http_client(options.server, http_client=http)
        async with Client(transport, client_info=about_us, extensions=extensions) as mcp:
            yield mcp


async def log_out(options: Options, store: Store, say: Callable[[str], object], forget: bool = False) -> dict:
    """Give the tokens back where they came from, and forget them here in any case.

    Returns `{"logged_out": bool, "revoked": bool}`: whether there was something to forget, and whether the
    authorization server said that it has taken it back. With `forget`, the registration goes too.
    """
    belongings, revoked = belongings_for(options, store, say), False
    tokens, endpoint = await belongings.get_tokens(), belongings.kept().get("revocation_endpoint")
    if tokens and endpoint:
        with contextlib.suppress(httpx2.HTTPError, Stop):  # we forget them all the same, and say that they may live on
            revoked = await revoke(tokens, endpoint, provider_for(options, belongings, say, nobody))
    belongings.forget_tokens()
    belongings.forget_step_ups()
    if forget and not options.is_machine:
        belongings.forget_client()
    return {"logged_out": tokens is not None, "revoked": revoked}


async def revoke(tokens: OAuthToken, endpoint: str, provider: Supervised) -> bool:
    """RFC 7009 §2.1: the refresh token, and with it what came of it; the access token if there is no other."""
    await provider._initialize()
    if not provider.context.client_info:
        return False
    form = {"token": tokens.refresh_token or tokens.access_token, "client_id": provider.context.client_info.client_id}
    form, headers = provider.context.prepare_token_auth(form, {})
    async with http_client(provider.server) as http:
        return (await http.post(endpoint, data=form, headers=headers)).status_code == 200


async def nobody(issuer: str) -> None:
    """The `ask` of a program that has no person to ask."""
