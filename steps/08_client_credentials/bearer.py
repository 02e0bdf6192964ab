"""Step 07 · what a patient attacker tries next, and why it does not work.

Who is it: what a request must show, and what the guard answers if it does not.
"""

import asyncio
import base64
import json
import logging
import re
import time
from dataclasses import dataclass, field

import httpx2
import jwt
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shared.addresses import ISSUER, RESOURCE, seconds_from_environment

from .hardening import write_down

# ── what we remember ──────────────────────────────────────────────────────────

METADATA_PATH = "/.well-known/oauth-protected-resource"
METADATA_URL = RESOURCE.removesuffix("/mcp") + METADATA_PATH + "/mcp"  # RFC 9728 §3.1
BASIC_SCOPES = ("mcp:tools:sentiment", "mcp:resources:customer-data:read")
NO_STORE = {"Cache-Control": "no-store"}
log = logging.getLogger("mcp_server")

TOKEN_LIMIT = 8000  # characters
LEEWAY = seconds_from_environment("LEEWAY", 30, least=0)  # that two clocks may differ
KEYS_LIFETIME = 300  # seconds
COOL_DOWN = 60  # seconds
PATIENCE = 3  # seconds
RETRY_AFTER = 1  # seconds
SERVER_METADATA = f"{ISSUER}/.well-known/oauth-authorization-server"


@dataclass
class IssuerKeys:
    """The authorization server's public keys by `kid`, and when we may ask for them again."""

    known: dict[str, jwt.PyJWK] = field(default_factory=dict)
    too_old_at: float = 0.0
    ask_again_at: float = 0.0
    unavailable_until: float = 0.0
    one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)


issuer_keys = IssuerKeys()
http = httpx2.AsyncClient()

# ── how we say no ─────────────────────────────────────────────────────────────


class Refused(Exception):
    """A request that stays outside, with the challenge that tells the client what to do about it."""

    def __init__(self, status: int, **challenge: str):
        self.status, self.challenge = status, challenge


def refuse(no: Refused) -> Response:
    """The one place where a no becomes HTTP: RFC 9728 §5.1."""
    write_down(outcome="refused", reason=str(no.challenge.get("error", "no token")))
    if no.status == 503:
        return JSONResponse(no.challenge, 503, NO_STORE | {"Retry-After": str(RETRY_AFTER)})
    if no.status in (413, 415) or "jsonrpc" in no.challenge:
        return Response(json.dumps(no.challenge), no.status, NO_STORE, "application/json")
    parameters = ", ".join(f'{name}="{value}"' for name, value in {"realm": "mcp", **no.challenge}.items())
    return Response(status_code=no.status, headers=NO_STORE | {"WWW-Authenticate": f"Bearer {parameters}"})


def no_token() -> Refused:
    return Refused(401, resource_metadata=METADATA_URL, scope=" ".join(BASIC_SCOPES))  # OAuth 2.1 §5.3.2


def bad_token() -> Refused:
    """One sentence for every reason: whoever tries out tokens learns nothing from it."""
    why = "The access token is invalid or expired"
    return Refused(401, error="invalid_token", error_description=why, resource_metadata=METADATA_URL)


def bad_header(why: str) -> Refused:
    return Refused(400, error="invalid_request", error_description=why, resource_metadata=METADATA_URL)


def no_keys() -> Refused:
    why = "The authorization server does not show us its keys; your token may be fine, so try again soon"
    return Refused(503, error="temporarily_unavailable", error_description=why)


# ── rules ─────────────────────────────────────────────────────────────────────


def bearer_token(request: Request) -> str:
    """OAuth 2.1 §5.1.1: the token stands in the header, and only there."""
    if len(request.headers.getlist("authorization")) > 1:
        raise bad_header("There is more than one Authorization header")  # RFC 9110 §5.3
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise no_token()
    credentials = credentials.lstrip(" ")
    if not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", credentials):
        raise bad_header("After Bearer comes one token and nothing else")  # OAuth 2.1 §5.3.2
    return credentials


@dataclass(frozen=True)
class Jwt:
    """A token taken apart. Believe nothing in it before it is verified."""

    raw: str
    header: dict
    claims: dict


def take_apart(raw: str) -> Jwt:
    """RFC 7515 §7.1, RFC 7519 §7.2: three parts, and the first two are JSON objects."""
    if len(raw) > TOKEN_LIMIT:
        raise bad_token()
    if not re.fullmatch(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*", raw):
        raise bad_token()
    try:
        header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in raw.split(".")[:2])
    except (ValueError, RecursionError):
        raise bad_token() from None
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise bad_token()
    return Jwt(raw, header, claims)


async def is_access_token(token: Jwt) -> bool:
    return str(token.header.get("typ")).lower() in ("at+jwt", "application/at+jwt")  # RFC 9068 §4


async def without_extensions(token: Jwt) -> bool:
    return "crit" not in token.header  # RFC 7515 §4.1.11: we understand none


async def signed_by_our_issuer(token: Jwt) -> bool:
    kid = token.header.get("kid")
    key = await key_named(kid) if isinstance(kid, str) else None
    if key is None:
        return False
    try:
        jwt.PyJWS().decode(token.raw, key, algorithms=["RS256"])  # RFC 8725 §3.1: not the token's choice
        return True
    except jwt.PyJWTError:
        return False


async def has_all_claims(token: Jwt) -> bool:
    texts = [token.claims.get(name) for name in ("iss", "sub", "client_id", "jti")]
    moments = [token.claims.get("exp"), token.claims.get("iat"), token.claims.get("nbf", 0)]
    all_text = all(isinstance(text, str) and text for text in texts)
    return all_text and all(type(moment) in (int, float) for moment in moments)  # RFC 9068 §2.2


async def from_our_issuer(token: Jwt) -> bool:
    return token.claims["iss"] == ISSUER  # RFC 9068 §4


async def made_for_us(token: Jwt) -> bool:
    return token.claims.get("aud") in (RESOURCE, [RESOURCE])  # RFC 9068 §4


async def within_its_time(token: Jwt) -> bool:
    begins = max(token.claims["iat"], token.claims.get("nbf", 0))
    return begins - LEEWAY <= time.time() < token.claims["exp"] + LEEWAY  # RFC 7519 §4.1.4, §4.1.5


BEARER_RULES = (  # async, because one of them may have to fetch keys
    is_access_token,
    without_extensions,
    signed_by_our_issuer,
    has_all_claims,
    from_our_issuer,
    made_for_us,
    within_its_time,
)

# ── tokens ────────────────────────────────────────────────────────────────────


async def who_is_it(request: Request) -> AuthenticatedUser:
    token = take_apart(bearer_token(request))
    for rule in BEARER_RULES:
        if not await rule(token):
            log.info("refused by the rule %s", rule.__name__)
            raise bad_token()
    write_down(who=token.claims["sub"], client=token.claims["client_id"])
    return AuthenticatedUser(
        AccessToken(
            token=token.raw,
            client_id=str(token.claims.get("client_id")),
            subject=str(token.claims.get("sub")),
            scopes=str(token.claims.get("scope", "")).split(),
        )
    )


async def key_named(kid: str) -> jwt.PyJWK | None:
    """Keys are kept for a while. An unknown `kid` makes us ask again, but only once per cool-down."""
    async with issuer_keys.one_at_a_time:
        now = time.monotonic()
        if now > issuer_keys.too_old_at:
            await fetch_keys(now)
        elif kid not in issuer_keys.known and now > issuer_keys.ask_again_at:
            issuer_keys.ask_again_at = now + COOL_DOWN
            await fetch_keys(now)
    return issuer_keys.known.get(kid)


async def fetch_keys(now: float) -> None:
    """RFC 8414 §2: the authorization server's metadata says where its keys are."""
    if now < issuer_keys.unavailable_until:
        raise no_keys()
    try:
        async with asyncio.timeout(PATIENCE):
            server = (await http.get(SERVER_METADATA)).raise_for_status().json()
            if server["issuer"] != ISSUER:
                raise ValueError("this metadata is about another issuer")  # RFC 8414 §3.3
            keys = await http.get(server["jwks_uri"])
        found = {key.key_id: key for key in jwt.PyJWKSet(keys.raise_for_status().json()["keys"]).keys}
    except Exception as error:  # whatever is wrong with what they sent, we have no keys
        log.warning("no keys from the authorization server: %r", error)
        issuer_keys.unavailable_until = time.monotonic() + RETRY_AFTER
        raise no_keys() from None
    issuer_keys.known = found
    issuer_keys.too_old_at = now + KEYS_LIFETIME
