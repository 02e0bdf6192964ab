"""Access tokens: made here, and read back where somebody shows us one of ours. RFC 9068."""

import json
import secrets
import time
from typing import Any

import jwt

from .context import AuthServer, OAuthError
from .parameters import at_the_resource
from .storage import Grant

TYPE = "at+jwt"  # RFC 9068 §2.1
ENDED = "ended"  # how an access token that was revoked is remembered


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


def shown_token(ask: dict[str, str]) -> str:
    if "token" not in ask:
        raise OAuthError("invalid_request", "token is missing")  # RFC 7662 §2.1, RFC 7009 §2.1
    return ask["token"]
