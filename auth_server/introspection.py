"""Introspection: a resource server asks whether a token is still good. RFC 7662."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shared.audit import write_down
from shared.bodies import read_form

from .client_authentication import CREDENTIALS, authenticated_resource
from .context import server_of
from .directory import Resource
from .parameters import once_each
from .tokens import alive, read, shown_token

NAMES = (*CREDENTIALS, "token", "token_type_hint")
SHOWN = ("scope", "client_id", "sub", "aud", "iss", "exp", "iat", "jti")


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
