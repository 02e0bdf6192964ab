"""Access tokens: made here (RFC 9068), asked about by resource servers (RFC 7662), given back by clients (RFC 7009)."""

import json
import secrets
import time
from typing import Any

import jwt
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shared.audit import write_down
from shared.bodies import read_form

from .client_authentication import CREDENTIALS, authenticated_client, authenticated_resource
from .context import AuthServer, OAuthError, server_of
from .directory import Resource
from .parameters import at_the_resource, once_each
from .storage import Client, Grant

TYPE = "at+jwt"  # RFC 9068 §2.1
ENDED = "ended"  # how an access token that was revoked is remembered
NAMES = (*CREDENTIALS, "token", "token_type_hint")
SHOWN = ("scope", "client_id", "sub", "aud", "iss", "exp", "iat", "jti")


def mint(server: AuthServer, grant: Grant) -> str:
    """RFC 9068 §2: who made it, for whose door, on whose behalf, until when.

    Its `jti` begins with the grant that it came of, so that it ends with it; with nothing for a client of its own.
    """
    now = int(time.time())
    claims = {
        "iss": server.settings.issuer,
        "aud": grant.resource,  # RFC 9068 §3
        "sub": grant.subject,
        "client_id": grant.client_id,
        "scope": at_the_resource(grant.scope),
        "iat": now,
        "exp": now + server.settings.token_lifetime,
        "jti": f"{grant.grant_id}.{secrets.token_urlsafe(16)}",
    }
    return server.keys.sign(claims, {"typ": TYPE})


def read(server: AuthServer, token: str) -> dict[str, Any] | None:
    """The claims of an access token that we signed, with a key that we still publish, and that has not expired.

    None for anything else. Whether its grant has ended meanwhile is asked by `alive`.
    """
    try:
        header = jwt.get_unverified_header(token)
        key = server.keys.public(str(header.get("kid")))
        if key is None or header.get("typ") != TYPE:
            return None
        claims = json.loads(jwt.PyJWS().decode(token, key.public, algorithms=[key.algorithm]))  # RFC 8725 §3.1
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        return None
    return claims if claims["iss"] == server.settings.issuer and time.time() < claims["exp"] else None


# ── introspection ─────────────────────────────────────────────────────────────────────────────────


def made_for_the_caller(claims: dict[str, Any], caller: Resource) -> bool:
    return claims["aud"] == caller.resource  # RFC 7662 §2.2, §4


INTROSPECTION_RULES = (made_for_the_caller,)


async def introspect(request: Request) -> Response:
    """What the token says, or exactly {"active": false}: expired, ended, somebody else's and nonsense look the same.

    Of refresh tokens nobody learns here that there are any: they are a matter between their clients and us.
    """
    server, found = server_of(request), {"active": False}
    ask = once_each(await read_form(request), NAMES)
    caller = await authenticated_resource(request, ask)
    claims = read(server, shown_token(ask))
    if claims and all(rule(claims, caller) for rule in INTROSPECTION_RULES):
        write_down(who=claims["sub"], client=claims["client_id"])
        if await alive(server, claims):
            found = {"active": True, "token_type": "Bearer"} | {name: claims[name] for name in SHOWN}
    return JSONResponse(found)


def shown_token(ask: dict[str, str]) -> str:
    if "token" not in ask:
        raise OAuthError("invalid_request", "token is missing")  # RFC 7662 §2.1, RFC 7009 §2.1
    return ask["token"]


async def alive(server: AuthServer, claims: dict[str, Any]) -> bool:
    """Whether neither the token itself, nor what it came of, has ended before its time."""
    store = server.store
    if await store.ask(store.seen, ENDED, claims["jti"]):
        return False
    if grant_id := claims["jti"].partition(".")[0]:
        grant = await store.ask(store.grant, grant_id)
        return grant is not None and grant.revoked_at is None
    client = await store.ask(store.client, claims["client_id"])
    return client is not None and claims["iat"] >= (client.not_before or 0)


# ── revocation ────────────────────────────────────────────────────────────────────────────────────


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
