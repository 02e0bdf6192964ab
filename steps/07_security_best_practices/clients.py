"""Step 07 · what a patient attacker tries next, and why it does not work.

Who asks: how a client gets a name, and how it proves that the name is its own.
"""

import hmac
import re
import secrets
import time
from collections.abc import Collection

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shared.bodies import read_json

from .hardening import write_down

# ── what we remember ──────────────────────────────────────────────────────────

NO_STORE = {"Cache-Control": "no-store"}
AUTH_METHODS = (
    "none",
    "client_secret_post",
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


REGISTRATION_RULES = (
    well_formed,
    https_or_loopback,
    fits_application_type,
    known_auth_method,
    one_key_source,
    code_grant,
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
    for rule in REGISTRATION_RULES:
        rule(metadata)
    client = {name: metadata[name] for name in REGISTRABLE}  # the rest is ignored, as the answer shows
    client |= {"client_id": secrets.token_urlsafe(16), "client_id_issued_at": int(time.time())}
    client |= {"grant_types": [grant for grant in GRANTS if grant in metadata["grant_types"]]}
    client |= {"scope": " ".join(scope for scope in SCOPES if scope in metadata["scope"].split(" "))}
    if client["token_endpoint_auth_method"] != "none":
        client |= {"client_secret": secrets.token_urlsafe(32), "client_secret_expires_at": 0}
    clients[client["client_id"]] = client
    write_down(client=client["client_id"])
    return JSONResponse(client, 201, NO_STORE)  # RFC 7591 §3.2.1


def authenticated_client(request: Request, ask: dict[str, str]) -> dict:
    methods = ("authorization" in request.headers) + ("client_assertion" in ask) + ("client_secret" in ask)
    if methods > 1:
        raise OAuthError("invalid_request", "authenticate in one way, not in several")  # OAuth 2.1 §3.2.4
    if methods and "client_secret" not in ask:
        raise OAuthError("invalid_client", "a secret is read from the form only: client_secret_post", 401)
    client = clients.get(ask.get("client_id", ""))  # an unknown client is compared too, and takes as long
    secret = client.get("client_secret", "") if client else secrets.token_urlsafe()
    if not hmac.compare_digest(ask.get("client_secret", "").encode(), secret.encode()):
        raise OAuthError("invalid_client", "client authentication failed", 401)  # OAuth 2.1 §3.2.4
    write_down(client=client["client_id"])
    return client
