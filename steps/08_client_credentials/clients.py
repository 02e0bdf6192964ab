"""Step 08 · no person, same door: a machine proves itself, and the door does not change.

Who asks: how a client gets a name, and how it proves that the name is its own.
"""

import base64
import hmac
import re
import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import unquote_plus

import jwt
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shared.addresses import ISSUER, secret_from_environment
from shared.bodies import read_json

from .hardening import write_down

# ── what we remember ──────────────────────────────────────────────────────────

NO_STORE = {"Cache-Control": "no-store"}
AUTH_METHODS = (
    "none",
    "client_secret_post",
    "client_secret_basic",
    "private_key_jwt",
)
SIGNING_ALGORITHMS = (
    "RS256",
    "ES256",
)
LOOPBACK = r"(127\.0\.0\.1|localhost|\[::1\])(?![A-Za-z0-9.-])"  # and not localhost.evil.example
ORIGIN = rf"(https://[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*|http://{LOOPBACK})(:[0-9]{{1,5}})?"
REDIRECT_URI = rf"{ORIGIN}(/[A-Za-z0-9._~!$&'()+,;=:@%/?-]*)?"
SCOPES = {
    "mcp:tools:sentiment": "Score the mood of headlines",
    "mcp:resources:customer-data:read": "Read customers and their portfolios",
    "mcp:exec:workflows:rebalance": "Rebalance a portfolio",
    "mcp:resources:customer-data": "Read customers, and all else that concerns them",
}
GRANTS = ("authorization_code", "refresh_token")
REGISTRABLE = {  # what a client may say of itself, and what its silence means: RFC 7591 §2
    "redirect_uris": [],
    "token_endpoint_auth_method": "client_secret_basic",
    "grant_types": ["authorization_code"],
    "response_types": ["code"],
    "application_type": "web",
    "client_name": "a program without a name",
    "scope": " ".join(SCOPES),
}
clients: dict[str, dict] = {}  # by client_id

INITIAL_ACCESS_TOKEN = secret_from_environment("INITIAL_ACCESS_TOKEN")  # the operator's: RFC 7591 §3
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFETIME = 300  # seconds
LEEWAY = 30  # seconds
PUBLIC_MEMBERS = ("kty", "kid", "alg", "use", "n", "e", "crv", "x", "y")  # of a key: no other is kept
MOST_KEYS = 5
assertions: dict[tuple[str, str], float] = {}  # until when each was good, by client_id and jti


@dataclass(frozen=True)
class Assertion:
    """What a client says of itself, signed. Believe nothing in it before it is verified."""

    raw: str
    kind: str
    header: dict
    claims: dict


# ── how we say no ─────────────────────────────────────────────────────────────


class OAuthError(Exception):
    """An error a client is meant to read: `error` is for code, `why` for people."""

    def __init__(self, error: str, why: str, status: int = 400):
        self.error, self.why, self.status = error, why, status


# ── rules ─────────────────────────────────────────────────────────────────────


def well_formed(metadata: dict) -> None:
    for name, usual in REGISTRABLE.items():
        texts = metadata[name] if isinstance(usual, list) else [metadata[name]]
        if not isinstance(texts, list) or len(texts) > 10 or not all(map(is_short_text, texts)):
            error = "invalid_redirect_uri" if name == "redirect_uris" else "invalid_client_metadata"
            raise OAuthError(error, f"{name} must be printable text, or a short list of it")


def is_short_text(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and len(value) <= 2000


def https_or_loopback(metadata: dict) -> None:
    for uri in metadata["redirect_uris"] or [""]:  # none at all is refused too
        if not re.fullmatch(REDIRECT_URI, uri):
            why = "redirect_uris: https, or http on a loopback host; no fragment, userinfo or wildcard"
            raise OAuthError("invalid_redirect_uri", why)  # RFC 9700 §2.6


def fits_application_type(metadata: dict) -> None:
    if metadata["application_type"] not in ("native", "web"):
        raise OAuthError("invalid_client_metadata", "application_type must be native or web")
    loopback = any(re.match(rf"https?://{LOOPBACK}", uri) for uri in metadata["redirect_uris"])
    if metadata["application_type"] == "web" and loopback:
        why = "a web client has no loopback redirect_uri: say application_type native"
        raise OAuthError("invalid_redirect_uri", why)  # OpenID Connect Registration §2


def known_auth_method(metadata: dict) -> None:
    if metadata["token_endpoint_auth_method"] not in AUTH_METHODS:
        why = f"token_endpoint_auth_method must be one of: {', '.join(AUTH_METHODS)}"
        raise OAuthError("invalid_client_metadata", why)  # RFC 7591 §2


def one_key_source(metadata: dict) -> None:
    if "jwks" in metadata and "jwks_uri" in metadata:
        raise OAuthError("invalid_client_metadata", "jwks and jwks_uri exclude each other")  # RFC 7591 §2


def code_grant(metadata: dict) -> None:
    if "authorization_code" not in metadata["grant_types"] or metadata["response_types"] != ["code"]:
        why = "only grant type authorization_code with response type code can be registered here"
        raise OAuthError("invalid_client_metadata", why)  # RFC 7591 §2.1


def shows_its_keys(metadata: dict) -> None:
    if metadata["token_endpoint_auth_method"] == "private_key_jwt" and not usable_keys(metadata.get("jwks")):
        why = f"private_key_jwt takes jwks: public keys with kid and alg, one of {', '.join(SIGNING_ALGORITHMS)}"
        raise OAuthError("invalid_client_metadata", why)  # RFC 7591 §2


REGISTRATION_RULES = (
    well_formed,
    https_or_loopback,
    fits_application_type,
    known_auth_method,
    one_key_source,
    code_grant,
    shows_its_keys,
)


def registered_by_the_operator(metadata: dict) -> None:
    if not metadata["by_the_operator"]:
        why = "a program that acts for itself is registered by the operator, with an initial access token"
        raise OAuthError("invalid_client_metadata", why)


def sends_nobody_anywhere(metadata: dict) -> None:
    if metadata["redirect_uris"]:
        raise OAuthError("invalid_redirect_uri", "a program that acts for itself has no redirect_uris")


def proves_itself(metadata: dict) -> None:
    if metadata["token_endpoint_auth_method"] == "none":
        raise OAuthError("invalid_client_metadata", "only a confidential client acts for itself")  # OAuth 2.1 §4.2


MACHINE_RULES = (
    registered_by_the_operator,
    well_formed,
    sends_nobody_anywhere,
    known_auth_method,
    proves_itself,
    one_key_source,
    shows_its_keys,
)


def usable_keys(jwks: object) -> dict[str, jwt.PyJWK]:
    """By `kid`; none at all if one of them is odd, weak, or private."""
    found: dict[str, jwt.PyJWK] = {}
    try:
        for key in jwks["keys"]:
            if key["alg"] not in SIGNING_ALGORITHMS or {"d", "p", "q", "k"} & set(key) or len(found) == MOST_KEYS:
                return {}
            if not all(map(is_short_text, (key[name] for name in PUBLIC_MEMBERS if name in key))):
                return {}
            found[key["kid"]] = jwt.PyJWK(key)
            if key["kty"] == "RSA" and found[key["kid"]].key.key_size < 2048:  # RFC 7518 §3.3
                return {}
    except (jwt.PyJWTError, KeyError, TypeError, ValueError, AttributeError):
        return {}
    return found


def right_kind(assertion: Assertion, client: dict) -> bool:
    return assertion.kind == ASSERTION_TYPE  # RFC 7521 §4.2


def signed_by_the_client(assertion: Assertion, client: dict) -> bool:
    keys = usable_keys(client.get("jwks"))
    only = next(iter(keys)) if len(keys) == 1 else ""
    key = keys.get(str(assertion.header.get("kid", only)))
    try:
        jwt.PyJWS().decode(assertion.raw, key, algorithms=[key.algorithm_name])  # RFC 8725 §3.1
        return True
    except (jwt.PyJWTError, AttributeError):
        return False


def about_the_client(assertion: Assertion, client: dict) -> bool:
    return assertion.claims.get("iss") == assertion.claims.get("sub") == client["client_id"]  # RFC 7523 §3


def for_us_alone(assertion: Assertion, client: dict) -> bool:
    return assertion.claims.get("aud") in (ISSUER, [ISSUER])  # RFC 7523 §3


def short_lived(assertion: Assertion, client: dict) -> bool:
    now = time.time()
    until, since, begins = (assertion.claims.get(name, now) for name in ("exp", "iat", "nbf"))
    if not all(type(moment) in (int, float) for moment in (until, since, begins)):
        return False
    fresh = now - ASSERTION_LIFETIME <= since <= now + LEEWAY and begins <= now + LEEWAY
    return fresh and now < until <= now + ASSERTION_LIFETIME + LEEWAY


def never_seen(assertion: Assertion, client: dict) -> bool:
    """RFC 7523 §3: each assertion once. Last of the rules, because it remembers."""
    for old in [name for name, until in assertions.items() if until < time.time()]:
        del assertions[old]
    name = (client["client_id"], assertion.claims.get("jti"))
    if not is_short_text(name[1]) or not 0 < len(name[1]) <= 100 or name in assertions:
        return False
    assertions[name] = assertion.claims["exp"]
    return True


ASSERTION_RULES = (
    right_kind,
    signed_by_the_client,
    about_the_client,
    for_us_alone,
    short_lived,
    never_seen,
)


def once_each(pairs: list[tuple[str, str]], names: Collection[str]) -> dict[str, str]:
    """What was asked: these names, each once, as plain text. An empty value is none; the rest is ignored."""
    ask: dict[str, str] = {}
    for name, value in pairs:
        if name in ask:
            error = "invalid_target" if name == "resource" else "invalid_request"  # RFC 8707 §2
            raise OAuthError(error, "a parameter appears more than once")  # OAuth 2.1 §3.1, §3.2
        if name in names and value:
            ask[name] = value
    return ask


# ── endpoints ─────────────────────────────────────────────────────────────────


async def register(request: Request) -> Response:
    """RFC 7591 §3.1: a client says who it is and gets a name, on our terms."""
    metadata = REGISTRABLE | await read_json(request, "invalid_client_metadata")
    metadata |= {"by_the_operator": shows_initial_access_token(request)}
    grants = metadata["grant_types"] if isinstance(metadata["grant_types"], list) else []
    for_itself = "client_credentials" in grants and "authorization_code" not in grants
    for rule in MACHINE_RULES if for_itself else REGISTRATION_RULES:
        rule(metadata)
    client = {name: metadata[name] for name in REGISTRABLE}  # the rest is ignored, as the answer shows
    client |= {"client_id": secrets.token_urlsafe(16), "client_id_issued_at": int(time.time())}
    client |= {"grant_types": [grant for grant in GRANTS if grant in metadata["grant_types"]]}
    client |= {"grant_types": ["client_credentials"], "response_types": []} if for_itself else {}
    client |= {"scope": " ".join(scope for scope in SCOPES if scope in metadata["scope"].split(" "))}
    if client["token_endpoint_auth_method"] == "private_key_jwt":
        keys = [{name: key[name] for name in PUBLIC_MEMBERS if name in key} for key in metadata["jwks"]["keys"]]
        client |= {"jwks": {"keys": keys}}
    if client["token_endpoint_auth_method"].startswith("client_secret"):
        client |= {"client_secret": secrets.token_urlsafe(32), "client_secret_expires_at": 0}
    clients[client["client_id"]] = client
    write_down(client=client["client_id"])
    return JSONResponse(client, 201, NO_STORE)  # RFC 7591 §3.2.1


def shows_initial_access_token(request: Request) -> bool:
    if len(request.headers.getlist("authorization")) > 1:
        raise OAuthError("invalid_request", "there is more than one Authorization header")
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and hmac.compare_digest(token.encode(), INITIAL_ACCESS_TOKEN.encode()):
        return True
    if scheme:
        raise OAuthError("invalid_token", "this is not the operator's initial access token", 401)  # RFC 7591 §3
    return False


def authenticated_client(request: Request, ask: dict[str, str]) -> dict:
    """OAuth 2.1 §2.4: in the one way that was registered, and in no other."""
    shown = {
        "client_secret_basic": len(request.headers.getlist("authorization")),
        "private_key_jwt": "client_assertion" in ask,
        "client_secret_post": "client_secret" in ask,
    }
    if sum(shown.values()) > 1:
        raise OAuthError("invalid_request", "authenticate in one way, not in several")  # OAuth 2.1 §3.2.4
    way = next((way for way, is_there in shown.items() if is_there), "none")
    client = WAYS[way](request, ask)
    as_registered = client and client["token_endpoint_auth_method"] == way
    if not as_registered or ask.get("client_id", client["client_id"]) != client["client_id"]:
        raise OAuthError("invalid_client", "client authentication failed", 401)  # OAuth 2.1 §3.2.4
    write_down(client=client["client_id"])
    return client


def by_name(request: Request, ask: dict[str, str]) -> dict | None:
    return clients.get(ask.get("client_id", ""))


def by_post(request: Request, ask: dict[str, str]) -> dict | None:
    return with_secret(ask.get("client_id", ""), ask["client_secret"])


def by_basic(request: Request, ask: dict[str, str]) -> dict | None:
    """Both parts are form-encoded before they are joined: RFC 6749 §2.3.1."""
    scheme, _, credentials = request.headers["authorization"].partition(" ")
    try:
        both = base64.b64decode(credentials, validate=True).decode() if scheme.lower() == "basic" else ""
        client_id, secret = (unquote_plus(part, errors="strict") for part in both.split(":"))
    except ValueError:
        return None
    return with_secret(client_id, secret)


def by_assertion(request: Request, ask: dict[str, str]) -> dict | None:
    raw, kind = ask["client_assertion"], ask.get("client_assertion_type", "")
    try:
        found = jwt.decode_complete(raw, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        return None
    assertion = Assertion(raw, kind, found["header"], found["payload"])
    client = clients.get(str(assertion.claims.get("sub")))
    return client if client and all(rule(assertion, client) for rule in ASSERTION_RULES) else None


def with_secret(client_id: str, secret: str) -> dict | None:
    client = clients.get(client_id, {})  # an unknown client is compared too, and takes as long
    wanted = client.get("client_secret") or secrets.token_urlsafe(32)
    return client if hmac.compare_digest(secret.encode(), wanted.encode()) else None


WAYS = {
    "none": by_name,
    "client_secret_post": by_post,
    "client_secret_basic": by_basic,
    "private_key_jwt": by_assertion,
}
