"""Step 04 · a stolen code is worthless: only whoever asked for it can redeem it.

Who is it: what a request must show, and what the guard answers if it does not.
"""

import base64
import json
import logging
import re
from dataclasses import dataclass

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.requests import Request
from starlette.responses import Response

from shared.addresses import RESOURCE

# ── what we remember ──────────────────────────────────────────────────────────

METADATA_PATH = "/.well-known/oauth-protected-resource"
METADATA_URL = RESOURCE.removesuffix("/mcp") + METADATA_PATH + "/mcp"  # RFC 9728 §3.1
BASIC_SCOPES = ("mcp:tools:sentiment", "mcp:resources:customer-data:read")
NO_STORE = {"Cache-Control": "no-store"}
log = logging.getLogger("mcp_server")

# ── how we say no ─────────────────────────────────────────────────────────────


class Refused(Exception):
    """A request that stays outside, with the challenge that tells the client what to do about it."""

    def __init__(self, status: int, **challenge: str):
        self.status, self.challenge = status, challenge


def refuse(no: Refused) -> Response:
    """The one place where a no becomes HTTP: RFC 9728 §5.1."""
    parameters = ", ".join(f'{name}="{value}"' for name, value in {"realm": "mcp", **no.challenge}.items())
    return Response(status_code=no.status, headers=NO_STORE | {"WWW-Authenticate": f"Bearer {parameters}"})


def no_token() -> Refused:
    return Refused(401, resource_metadata=METADATA_URL, scope=" ".join(BASIC_SCOPES))  # OAuth 2.1 §5.3.2


def bad_token() -> Refused:
    """One sentence for every reason: whoever tries out tokens learns nothing from it."""
    why = "The access token is invalid or expired"
    return Refused(401, error="invalid_token", error_description=why, resource_metadata=METADATA_URL)


# ── rules ─────────────────────────────────────────────────────────────────────


def bearer_token(request: Request) -> str:
    """OAuth 2.1 §5.1.1: the token stands in the header, and only there."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise no_token()
    return credentials


@dataclass(frozen=True)
class Jwt:
    """A token taken apart. Believe nothing in it before it is verified."""

    raw: str
    header: dict
    claims: dict


def take_apart(raw: str) -> Jwt:
    """RFC 7515 §7.1, RFC 7519 §7.2: three parts, and the first two are JSON objects."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*", raw):
        raise bad_token()
    try:
        header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in raw.split(".")[:2])
    except (ValueError, RecursionError):
        raise bad_token() from None
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise bad_token()
    return Jwt(raw, header, claims)


# ── tokens ────────────────────────────────────────────────────────────────────


async def who_is_it(request: Request) -> AuthenticatedUser:
    token = take_apart(bearer_token(request))
    log.warning("left open on purpose: believing a token that nobody has verified")
    return AuthenticatedUser(
        AccessToken(
            token=token.raw,
            client_id=str(token.claims.get("client_id")),
            subject=str(token.claims.get("sub")),
            scopes=str(token.claims.get("scope", "")).split(),
        )
    )
