"""Who asks, and how they prove it: clients at /token and /revoke, resource servers at /introspect. OAuth 2.1 §2.4."""

import base64
import hmac
import secrets
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

import jwt
from starlette.requests import Request

from shared.audit import write_down

from .context import AuthServer, OAuthError, server_of
from .database import sha256
from .directory import Resource
from .parameters import find_client, is_short_text
from .registration import usable_keys
from .storage import Client

CREDENTIALS = ("client_id", "client_secret", "client_assertion", "client_assertion_type")
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFETIME = 300  # seconds
LEEWAY = 30  # seconds


@dataclass(frozen=True)
class Assertion:
    """What a client says of itself, signed. Believe nothing in it before it is verified."""

    raw: str
    kind: str
    header: dict[str, Any]
    claims: dict[str, Any]
    issuer: str  # ours


def right_kind(assertion: Assertion, client: Client) -> bool:
    return assertion.kind == ASSERTION_TYPE  # RFC 7521 §4.2


def signed_by_the_client(assertion: Assertion, client: Client) -> bool:
    keys = usable_keys(client.registered.get("jwks"))
    only = next(iter(keys)) if len(keys) == 1 else ""
    key = keys.get(str(assertion.header.get("kid", only)))
    try:
        jwt.PyJWS().decode(assertion.raw, key, algorithms=[key.algorithm_name])  # RFC 8725 §3.1
        return True
    except (jwt.PyJWTError, AttributeError):
        return False


def about_the_client(assertion: Assertion, client: Client) -> bool:
    return assertion.claims.get("iss") == assertion.claims.get("sub") == client.client_id  # RFC 7523 §3


def for_us_alone(assertion: Assertion, client: Client) -> bool:
    return assertion.claims.get("aud") in (assertion.issuer, [assertion.issuer])  # RFC 7523 §3


def short_lived(assertion: Assertion, client: Client) -> bool:
    now = time.time()
    until, since, begins = (assertion.claims.get(name, now) for name in ("exp", "iat", "nbf"))
    if not all(type(moment) in (int, float) for moment in (until, since, begins)):
        return False
    fresh = now - ASSERTION_LIFETIME <= since <= now + LEEWAY and begins <= now + LEEWAY
    return fresh and now < until <= now + ASSERTION_LIFETIME + LEEWAY


ASSERTION_RULES = (right_kind, signed_by_the_client, about_the_client, for_us_alone, short_lived)


async def never_seen(assertion: Assertion, client: Client, server: AuthServer) -> bool:
    """RFC 7523 §3: each assertion once. After all other rules, because it remembers."""
    jti, until = assertion.claims.get("jti"), assertion.claims["exp"]
    if not is_short_text(jti) or not 0 < len(jti) <= 100:
        return False
    return await server.store.ask(server.store.first_sight, client.client_id, jti, until)


ASSERTION_REPLAY_RULES = (never_seen,)


async def authenticated_client(request: Request, ask: dict[str, str]) -> Client:
    """In the one way that was registered, and in no other. Raises `OAuthError`: 401, or 429 after many failures."""
    server = server_of(request)
    way = way_shown(request, ask)
    client, proven = await WAYS[way](request, ask)
    as_registered = proven and client.registered["token_endpoint_auth_method"] == way
    if not as_registered or ask.get("client_id", client.client_id) != client.client_id:
        if client:
            server.guessed(client.client_id)  # whoever knows the secret is not kept out by those who guess
        raise OAuthError("invalid_client", "client authentication failed", 401)  # OAuth 2.1 §3.2.4
    write_down(client=client.client_id)
    return client


def way_shown(request: Request, ask: dict[str, str]) -> str:
    shown = {
        "client_secret_basic": len(request.headers.getlist("authorization")),
        "private_key_jwt": "client_assertion" in ask,
        "client_secret_post": "client_secret" in ask,
    }
    if sum(shown.values()) > 1:
        raise OAuthError("invalid_request", "authenticate in one way, not in several")  # OAuth 2.1 §3.2.4
    return next((way for way, is_there in shown.items() if is_there), "none")


async def by_name(request: Request, ask: dict[str, str]) -> tuple[Client | None, bool]:
    client = await find_client(request, ask.get("client_id", ""))
    return client, client is not None


async def by_secret(request: Request, ask: dict[str, str]) -> tuple[Client | None, bool]:
    store, (client_id, secret) = server_of(request).store, shown_credentials(request, ask)
    client = await store.ask(store.client, client_id) if is_short_text(client_id) else None
    return client, same_secret(secret, client and client.secret_hash)


async def by_assertion(request: Request, ask: dict[str, str]) -> tuple[Client | None, bool]:
    server, raw = server_of(request), ask["client_assertion"]
    try:
        found = jwt.decode_complete(raw, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        return None, False
    kind, issuer = ask.get("client_assertion_type", ""), server.settings.issuer
    assertion = Assertion(raw, kind, found["header"], found["payload"], issuer)
    client = await find_client(request, assertion.claims.get("sub"))
    if client is None or not all(rule(assertion, client) for rule in ASSERTION_RULES):
        return client, False
    return client, all([await rule(assertion, client, server) for rule in ASSERTION_REPLAY_RULES])


def shown_credentials(request: Request, ask: dict[str, str]) -> tuple[str, str]:
    """By Basic, where both parts are form-encoded before they are joined (RFC 6749 §2.3.1), or in the body."""
    if "authorization" not in request.headers:
        return ask.get("client_id", ""), ask.get("client_secret", "")
    scheme, _, credentials = request.headers["authorization"].partition(" ")
    try:
        both = base64.b64decode(credentials, validate=True).decode() if scheme.lower() == "basic" else ""
        name, secret = (unquote_plus(part, errors="strict") for part in both.split(":"))
    except ValueError:
        return "", ""
    return name, secret


def same_secret(secret: str, wanted: bytes | None) -> bool:
    """Where there is none, something is compared too, and takes as long."""
    return hmac.compare_digest(sha256(secret), wanted or secrets.token_bytes(32))


WAYS = {
    "none": by_name,
    "client_secret_post": by_secret,
    "client_secret_basic": by_secret,
    "private_key_jwt": by_assertion,
}


async def authenticated_resource(request: Request, ask: dict[str, str]) -> Resource:
    """Whoever asks about a token: RFC 7662 §2.1. Their credentials are good for nothing else. Raises `OAuthError`."""
    server = server_of(request)
    way_shown(request, ask)
    name, secret = shown_credentials(request, ask)
    resources = (await server.directory.ask(server.directory.resources)).values()
    resource = next((one for one in resources if name and one.introspection_id == name), None)
    if not same_secret(secret, resource and resource.secret_hash):
        raise OAuthError("invalid_client", "only a resource server that we know may ask about tokens", 401)
    write_down(resource=resource.resource)
    return resource
