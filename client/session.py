"""Put together: an HTTP client, the provider that speaks OAuth, for a person or a machine, and the SDK's `Client`."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx2
import jwt
from mcp import Client
from mcp.client import advertise
from mcp.client.auth.extensions import client_credentials as sdk
from mcp.client.streamable_http import streamable_http_client
from mcp.types import Implementation

from shared.stop import Stop

from .belongings import Belongings
from .options import Options
from .person import Asked, Person
from .provider import Supervised
from .wire import asks_for_more, json_object, read_all, why_not

NEGOTIABLE = (400, 404, 405, 406)  # an old server answers so to a new question, and the SDK asks in the old way
HALF_A_MINUTE = 30  # seconds
TIMEOUT = httpx2.Timeout(30, read=300)  # seconds
MACHINES = "io.modelcontextprotocol/oauth-client-credentials"


class WithSecret(Supervised, sdk.ClientCredentialsOAuthProvider):
    """client_secret_basic."""


class WithKey(Supervised, sdk.PrivateKeyJWTOAuthProvider):
    """private_key_jwt: an assertion for this issuer alone. RFC 7523 §3"""


def machine(options: Options, storage: Belongings) -> Supervised:
    """The provider for a machine that holds a secret or a key. Raises `Stop` for a key that cannot be used."""
    us = options.client_id
    known = {"storage": storage, "client_id": us, "issuer": options.issuer}
    if options.client_secret:
        return WithSecret(options, client_secret=options.client_secret, **known)
    pem, algorithm = signing_key(options.private_key)
    signing = {"signing_key": pem, "signing_algorithm": algorithm, "lifetime_seconds": 60}
    assertion = sdk.SignedJWTParameters(issuer=us, subject=us, **signing)
    return WithKey(options, assertion_provider=assertion.create_assertion_provider(), **known)


def signing_key(path: Path) -> tuple[str, str]:
    """The key in this file (PEM), and the algorithm that it is for: the first that can sign with it."""
    for algorithm in ("RS256", "ES256"):
        with contextlib.suppress(Exception):  # no file, no PEM, a password, another curve: each has its own error
            pem = path.read_text()
            jwt.encode({}, pem, algorithm)
            return pem, algorithm
    raise Stop(f"{path} holds no key for RS256 or ES256, as PEM without a password.")


async def nobody(issuer: str) -> None:
    """The `ask` of a program that has no person to ask."""


def provider_for(options: Options, belongings: Belongings, ask: Asked = nobody) -> Supervised:
    """The provider that these options ask for: an `httpx2.Auth` for any `httpx2.AsyncClient`."""
    return machine(options, belongings) if options.is_machine else Person(options, belongings, ask)


class Http(httpx2.AsyncClient):
    """Takes its time, and any amount, for what the MCP server gives; but not for its refusals and for OAuth."""

    async def _send_single_request(self, request: httpx2.Request) -> httpx2.Response:
        is_oauth = request.extensions.get("oauth")
        try:
            with anyio.fail_after(HALF_A_MINUTE if is_oauth else None) as limit:
                answer = await super()._send_single_request(request)
                if is_oauth or answer.status_code >= 300:
                    limit.deadline = min(limit.deadline, anyio.current_time() + HALF_A_MINUTE)
                    await read_all(answer)
        except TimeoutError:
            raise httpx2.ReadTimeout("", request=request) from None
        return answer


def http_client(server: str, auth: httpx2.Auth | None = None) -> httpx2.AsyncClient:
    """Follows no redirect by itself. Raises `Stop` where the SDK would only say that there was an error."""

    async def say_what_it_said(answer: httpx2.Response) -> None:
        status = answer.status_code
        if str(answer.request.url) != server or status < 400 or asks_for_more(answer):
            return
        error = json_object(await answer.aread()).get("error")
        if not isinstance(error, dict) and (error or status not in NEGOTIABLE):  # JSON-RPC is for the SDK to read
            raise Stop(f"{server} says no: {why_not(answer.request, answer)!r}.")

    return Http(auth=auth, timeout=TIMEOUT, event_hooks={"response": [say_what_it_said]})


@contextlib.asynccontextmanager
async def connected(options: Options, belongings: Belongings, ask: Asked = nobody) -> AsyncIterator[Client]:
    """Connect, and log in if the server asks for it.

    Raises `Stop`, `mcp.MCPError` and `httpx2.HTTPError`, often inside an `ExceptionGroup`.
    """
    extensions = [advertise(MACHINES, {})] if options.is_machine else None
    about_us = Implementation(name="mcp-oauth-client", version="1")
    async with http_client(options.server, provider_for(options, belongings, ask)) as http:
        transport = streamable_http_client(options.server, http_client=http)
        async with Client(transport, client_info=about_us, extensions=extensions) as mcp:
            yield mcp


async def log_out(options: Options, belongings: Belongings, forget: bool = False) -> dict:
    """Give the tokens back where they came from, and forget them here in any case.

    Returns `{"logged_out": bool, "revoked": bool}`: whether there was something to forget, and whether the
    authorization server said that it has taken it back. With `forget`, the registration goes too.
    """
    provider, revoked = provider_for(options, belongings), False
    await provider._initialize()
    tokens, client = provider.context.current_tokens, provider.context.client_info
    if tokens and client and (endpoint := belongings.kept().get("revocation_endpoint")):
        # RFC 7009 §2.1: the refresh token, and with it goes what came of it
        form = {"token": tokens.refresh_token or tokens.access_token, "client_id": client.client_id}
        form, headers = provider.context.prepare_token_auth(form, {})
        with contextlib.suppress(httpx2.HTTPError, Stop):
            async with http_client(options.server) as http:
                answer = await http.post(endpoint, data=form, headers=headers, extensions={"oauth": True})
                revoked = answer.status_code == 200
    belongings.forget_tokens()
    belongings.forget_step_ups()
    if forget and not options.is_machine:
        belongings.forget_client()
    return {"logged_out": tokens is not None, "revoked": revoked}
