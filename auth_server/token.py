"""The token endpoint: a grant comes in, a token goes out. OAuth 2.1 §3.2."""

import base64
import hashlib
import hmac
import re
import secrets
import time
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shared.audit import write_down
from shared.bodies import read_form

from .client_authentication import CREDENTIALS, authenticated_client
from .context import AuthServer, OAuthError, server_of
from .parameters import if_silent, known_to, names_a_resource, once_each, registered_scope, same_place, still_there
from .storage import Client, Grant, Held
from .tokens import mint

GRANT_NAMES = (*CREDENTIALS, "grant_type", "code", "code_verifier", "redirect_uri", "resource")
GRANT_NAMES += ("refresh_token", "scope")


def not_ended(held: Held, ask: dict[str, str]) -> None:
    """By whoever allowed it, by its client, or because a part of it was used twice."""
    if held.grant.revoked_at is not None:
        raise OAuthError("invalid_grant", "what was allowed has been withdrawn")


def still_fresh(held: Held, ask: dict[str, str]) -> None:
    if time.time() > held.expires_at:
        raise OAuthError("invalid_grant", "it has expired")  # OAuth 2.1 §4.1.2, §4.3.3


def same_redirect_uri(held: Held, ask: dict[str, str]) -> None:
    if ask.get("redirect_uri", held.redirect_uri) != held.redirect_uri:
        raise OAuthError("invalid_grant", "redirect_uri has changed")  # OAuth 2.1 §10.2


def s256_verifier(held: Held, ask: dict[str, str]) -> None:
    verifier = ask.get("code_verifier", "")
    if not re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", verifier):
        raise OAuthError("invalid_grant", "code_verifier must be 43 to 128 characters")  # RFC 7636 §4.1
    digest = hashlib.sha256(verifier.encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=")
    if not hmac.compare_digest(challenge, held.code_challenge.encode()):
        raise OAuthError("invalid_grant", "code_verifier does not fit code_challenge")  # RFC 7636 §4.6


def same_resource(held: Held, ask: dict[str, str]) -> None:
    if not same_place(ask.get("resource", held.grant.resource), held.grant.resource):
        raise OAuthError("invalid_target", "resource is not the one that was allowed")  # RFC 8707 §2.2


CODE_RULES = (still_fresh, same_redirect_uri, s256_verifier, same_resource, not_ended)


def no_wider_scope(held: Held, ask: dict[str, str]) -> None:
    allowed = held.grant.scope
    if not set(ask.get("scope", allowed).split(" ")) <= set(allowed.split(" ")):
        raise OAuthError("invalid_scope", "a refresh cannot widen what was allowed")  # OAuth 2.1 §4.3.1


REFRESH_RULES = (not_ended, still_fresh, same_resource, no_wider_scope)

CLIENT_CREDENTIALS_RULES = (names_a_resource, registered_scope)


def code_used_once(held: Held, ask: dict[str, str]) -> bool:
    """If not, two know this code and its verifier, and one of them is a thief: OAuth 2.1 §4.1.3, §7.5.3."""
    if held.used_at is not None:
        for rule in CODE_RULES:
            rule(held, ask)  # a guess is not a replay: whoever cannot prove it ends nothing
    return held.used_at is None


def refresh_token_used_once(held: Held, ask: dict[str, str]) -> bool:
    return held.used_at is None  # OAuth 2.1 §4.3.1


CODE_REPLAY_RULES = (code_used_once,)
REFRESH_REPLAY_RULES = (refresh_token_used_once,)


async def token(request: Request) -> Response:
    """Answers as RFC 6749 §5.1 says, with JSON; `expires_in` is in seconds. Raises `OAuthError`."""
    server = server_of(request)
    ask = once_each(await read_form(request), GRANT_NAMES)
    client = await authenticated_client(request, ask)
    if ask.get("grant_type") not in GRANT_TYPES:
        error = "unsupported_grant_type" if "grant_type" in ask else "invalid_request"
        raise OAuthError(error, f"grant_type must be one of: {', '.join(GRANT_TYPES)}")  # OAuth 2.1 §3.2.4
    if ask["grant_type"] not in client.registered["grant_types"]:
        raise OAuthError("unauthorized_client", "this client did not register this grant type")  # OAuth 2.1 §3.2.4
    answer = await GRANT_TYPES[ask["grant_type"]](server, client, ask)
    server.metrics.tokens(ask["grant_type"]).inc()
    return JSONResponse(answer)


async def redeem_code(server: AuthServer, client: Client, ask: dict[str, str]) -> dict[str, Any]:
    """OAuth 2.1 §4.1.3: a code works once, and only for the client it was given to."""
    held = await held_by(client, server, "code", ask)
    await first_use(server, CODE_REPLAY_RULES, held, ask)
    try:
        for rule in CODE_RULES:
            rule(held, ask)
    except OAuthError:
        await server.store.ask(server.store.use, held, time.time())  # whoever fails one of them has used up the code
        raise
    return await tokens_for(server, client, held, held.grant.scope, CODE_REPLAY_RULES, ask)


async def refresh(server: AuthServer, client: Client, ask: dict[str, str]) -> dict[str, Any]:
    """OAuth 2.1 §4.3.1: a refresh token works once; the answer brings the next one."""
    held = await held_by(client, server, "refresh_token", ask)
    await first_use(server, REFRESH_REPLAY_RULES, held, ask)
    for rule in REFRESH_RULES:  # before it is used: a mistake costs nothing here
        rule(held, ask)
    return await tokens_for(server, client, held, ask.get("scope", held.grant.scope), REFRESH_REPLAY_RULES, ask)


async def client_credentials(server: AuthServer, client: Client, ask: dict[str, str]) -> dict[str, Any]:
    """OAuth 2.1 §4.2: nobody is asked; the client acts for itself. There is nothing to refresh."""
    known = await known_to(server, client)
    ask = if_silent(ask, known)
    for rule in CLIENT_CREDENTIALS_RULES:
        rule(ask, known)
    return answer_for(server, Grant("", client.client_id, client.client_id, ask["resource"], ask["scope"], 0, 0))


GRANT_TYPES = {
    "authorization_code": redeem_code,
    "refresh_token": refresh,
    "client_credentials": client_credentials,
}


async def held_by(client: Client, server: AuthServer, kind: str, ask: dict[str, str]) -> Held:
    held = await server.store.ask(server.store.held, kind, ask.get(kind, ""))
    if held is None or held.grant.client_id != client.client_id:
        raise OAuthError("invalid_grant", f"there is no such {kind.replace('_', ' ')} for this client")
    return held


async def first_use(server: AuthServer, rules: tuple, held: Held, ask: dict[str, str]) -> None:
    """Raises `OAuthError` if it is not, after everything that came of the grant has ended."""
    if not all(rule(held, ask) for rule in rules):
        write_down(who=held.grant.subject, ended="all that came of this consent")
        await server.store.ask(server.store.end_grants, time.time(), grant_id=held.grant.grant_id)
        raise OAuthError("invalid_grant", "it has been used")


async def tokens_for(
    server: AuthServer, client: Client, held: Held, scope: str, replay_rules: tuple, ask: dict[str, str]
) -> dict[str, Any]:
    """An access token, and the means to get the next one if the client and the person asked for that.

    What was held is used, and its successor kept, before anybody is told.
    """
    scope = still_there(held.grant.resource, scope, await known_to(server, client))
    now, answer = time.time(), answer_for(server, replace(held.grant, scope=scope))
    if "refresh_token" in client.registered["grant_types"] and held.grant.offline:
        answer["refresh_token"] = secrets.token_urlsafe(32)
    successor, until = answer.get("refresh_token", ""), now + server.settings.refresh_lifetime
    lifetime = server.settings.unused_client_lifetime
    noted = client.keep_until is None or client.keep_until > now + lifetime * 0.9  # that it is in use, a while ago
    keep_until = 0.0 if noted else now + lifetime
    if await server.store.ask(server.store.use, held, now, successor, until, keep_until):
        return answer
    await first_use(server, replay_rules, replace(held, used_at=now), ask)  # somebody else was faster
    raise OAuthError("invalid_grant", "it has been used")


def answer_for(server: AuthServer, grant: Grant) -> dict[str, Any]:
    write_down(who=grant.subject)
    return {
        "access_token": mint(server, grant),
        "token_type": "Bearer",
        "expires_in": server.settings.token_lifetime,
        "scope": grant.scope,
    }
