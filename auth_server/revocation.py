"""Revocation: a client has no more use for a token. RFC 7009."""

import time

from starlette.requests import Request
from starlette.responses import Response

from shared.audit import write_down
from shared.bodies import read_form

from .client_authentication import CREDENTIALS, authenticated_client
from .context import AuthServer, server_of
from .parameters import once_each
from .storage import Client
from .tokens import ENDED, read, shown_token

NAMES = (*CREDENTIALS, "token", "token_type_hint")


async def revoke(request: Request) -> Response:
    """200, whatever it was: nobody learns here whether somebody else's token exists. RFC 7009 §2.2."""
    server = server_of(request)
    ask = once_each(await read_form(request), NAMES)
    client, token = await authenticated_client(request, ask), shown_token(ask)
    ends = end_access_token if token.count(".") == 2 else end_grant  # the hint says no more than its shape
    await ends(server, client, token)
    return Response()


async def end_access_token(server: AuthServer, client: Client, token: str) -> None:
    """Whoever asks us about it is told. Whoever checks it without asking believes it until it expires: RFC 7009 §3."""
    claims = read(server, token)
    if claims and claims["client_id"] == client.client_id:
        write_down(who=claims["sub"], ended="an access token")
        await server.store.ask(server.store.first_sight, ENDED, claims["jti"], claims["exp"])


async def end_grant(server: AuthServer, client: Client, refresh_token: str) -> None:
    """With a refresh token goes all that came of the same consent: RFC 7009 §2.1."""
    held = await server.store.ask(server.store.held, "refresh_token", refresh_token)
    if held and held.grant.client_id == client.client_id:
        write_down(who=held.grant.subject, ended="all that came of this consent")
        await server.store.ask(server.store.end_grants, time.time(), grant_id=held.grant.grant_id)
