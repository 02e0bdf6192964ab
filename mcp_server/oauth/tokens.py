"""Which tokens count, and who they stand for. The rules stand in tuples; their order is the policy."""

import base64
import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx2
import jwt
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from pydantic_core import from_json

from .config import Settings
from .errors import Refusals, Refused
from .introspection import introspect
from .keys import IssuerKeys, Web
from .metrics import Metrics

TOKEN_LIMIT = 8000  # characters
LAST_MOMENT = 10**12  # seconds since 1970: what lies beyond is no moment
ONE_TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]+=*")  # OAuth 2.1 §5.1.1
THREE_PARTS = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)")


@dataclass(slots=True)
class Jwt:
    """A token taken apart. Believe nothing in it before it is verified."""

    header: dict
    claims: dict
    signed: bytes = b""
    signature: bytes = b""
    key: jwt.PyJWK | None = None  # the issuer's key of that `kid`, once somebody has looked it up


def take_apart(raw: bytes) -> Jwt | None:
    """RFC 7515 §7.1, RFC 7519 §7.2: three parts, and the first two are JSON objects. None if it is not that."""
    parts = THREE_PARTS.fullmatch(raw) if len(raw) <= TOKEN_LIMIT else None
    if not parts:
        return None
    try:
        header, claims, signature = [base64.urlsafe_b64decode(part + b"==") for part in parts.groups()]
        token = Jwt(from_json(header), from_json(claims), raw[: parts.end(2)], signature)
    except ValueError:
        return None
    return token if isinstance(token.header, dict) and isinstance(token.claims, dict) else None


def is_access_token(token: Jwt, settings: Settings) -> bool:
    return str(token.header.get("typ")).lower() in ("at+jwt", "application/at+jwt")  # RFC 9068 §4


def without_extensions(token: Jwt, settings: Settings) -> bool:
    return "crit" not in token.header  # RFC 7515 §4.1.11: we understand none


HEADER_RULES = (is_access_token, without_extensions)  # before anybody is asked for keys


def signed_by_our_issuer(token: Jwt, settings: Settings) -> bool:
    """RFC 8725 §3.1: every key has one algorithm, and the token has no choice."""
    key = token.key
    if key is None or token.header.get("alg") != key.algorithm_name:
        return False
    return key.Algorithm.verify(token.signed, key.key, token.signature)


def has_all_claims(token: Jwt, settings: Settings) -> bool:
    texts = [token.claims.get(name) for name in ("iss", "sub", "client_id", "jti")]
    moments = [token.claims.get("exp"), token.claims.get("iat"), token.claims.get("nbf", 0)]
    if not all(type(moment) in (int, float) and 0 <= moment < LAST_MOMENT for moment in moments):
        return False
    return all(isinstance(text, str) and text for text in texts)  # RFC 9068 §2.2


def from_our_issuer(token: Jwt, settings: Settings) -> bool:
    return token.claims["iss"] == settings.issuer  # RFC 9068 §4


def made_for_us(token: Jwt, settings: Settings) -> bool:
    return token.claims.get("aud") in (settings.audience, [settings.audience])  # RFC 9068 §4


def within_its_time(token: Jwt, settings: Settings) -> bool:
    begins = max(token.claims["iat"], token.claims.get("nbf", 0))
    return begins - settings.leeway <= time.time() < token.claims["exp"] + settings.leeway  # RFC 7519 §4.1.4, §4.1.5


CLAIM_RULES = (has_all_claims, from_our_issuer, made_for_us, within_its_time)
BEARER_RULES = (signed_by_our_issuer, *CLAIM_RULES)


def is_active(token: Jwt, settings: Settings) -> bool:
    return token.claims.get("active") is True  # RFC 7662 §2.2


INTROSPECTION_RULES = (is_active, *CLAIM_RULES)  # what the authorization server says about an opaque token


class Known(AuthenticatedUser):
    """Somebody we know, as the SDK wants to have them. `about` is what the audit trail will say of them."""

    def __init__(self, access: AccessToken, until: float = 0.0, **about: str):
        super().__init__(access)
        self.until = until  # time.monotonic()
        self.owner = access.client_id, access.subject
        self.about = {"who": access.subject, "client": access.client_id, **about}


class TokenVerifier:
    """Judges access tokens. `verify_token` makes it a `TokenVerifier` of the SDK; `http` is what it fetches with."""

    def __init__(self, settings: Settings, *, http: httpx2.AsyncClient | None = None):
        self.settings, self.refusals = settings, Refusals(settings)
        self.metrics, self.web = Metrics(), Web(http)
        self.memory: dict[bytes, Known] = {}  # by `hashed`; what was remembered first is forgotten first
        self.keys = IssuerKeys(settings, self.web, self.metrics, self.memory.clear)

    async def verify_token(self, token: str) -> AccessToken | None:
        """The SDK's protocol: None for every token that does not count, also while nobody can say so."""
        try:
            return (self.known(token.encode()) or await self.who(token.encode())).access_token
        except Refused:
            return None

    def known(self, raw: bytes) -> Known | None:
        """Somebody whose token we have verified a moment ago. Never waits."""
        known = self.memory.get(hashed(raw))
        if known is None or time.monotonic() >= known.until:
            self.metrics.counts["mcp_auth_token_cache", "miss"] += 1
            return None
        self.metrics.counts["mcp_auth_token_cache", "hit"] += 1
        return known

    async def who(self, raw: bytes) -> Known:
        """Verify a token. Raises Refused: 400 if it is none, 401 if it is not good, 503 if nobody can say."""
        began, token = time.perf_counter(), take_apart(raw)
        if token is not None:
            took = self.metrics.jwt_took
            self.judge(token, HEADER_RULES)
            token.key = await self.keys.named(token.header.get("kid"))
            self.judge(token, BEARER_RULES)
        elif not ONE_TOKEN.fullmatch(raw):
            raise self.refusals.bad_request("After Bearer comes one token and nothing else")  # OAuth 2.1 §5.3.2
        elif self.settings.introspection_endpoint and len(raw) <= TOKEN_LIMIT:
            took = self.metrics.introspection_took
            token = Jwt({}, await introspect(raw.decode(), self.settings, self.web))
            self.judge(token, INTROSPECTION_RULES)
        else:
            raise self.refusals.bad_token("malformed")
        self.metrics.seconds_left.observe(token.claims["exp"] - time.time())
        took.observe(time.perf_counter() - began)
        known = Known(access_token(raw.decode(), token.claims, self.settings), self.forget_at(token))
        if len(self.memory) >= self.settings.token_cache_size:
            del self.memory[next(iter(self.memory))]
        self.memory[hashed(raw)] = known
        return known

    def judge(self, token: Jwt, rules: tuple[Callable[[Jwt, Settings], bool], ...]) -> None:
        for rule in rules:
            if not rule(token, self.settings):
                raise self.refusals.bad_token(rule.__name__)

    def forget_at(self, token: Jwt) -> float:
        """The earliest of: the token's own end, a short limit, and the moment at which its key must be looked up."""
        left = token.claims["exp"] + self.settings.leeway - time.time()
        until = time.monotonic() + min(left, self.settings.token_cache_seconds)
        return min(until, max(self.keys.fresh_until, self.keys.try_again_at)) if token.key else until


def hashed(token: bytes) -> bytes:
    """By BLAKE2b (RFC 7693), which Python computes itself: to call OpenSSL takes longer than to hash."""
    return hashlib.blake2b(token, digest_size=32).digest()


def access_token(raw: str, claims: dict, settings: Settings) -> AccessToken:
    """What tools see through the SDK's `get_access_token()`. `resource` is us: made_for_us has seen to that."""
    return AccessToken(
        token=raw,
        client_id=str(claims.get("client_id")),
        subject=str(claims.get("sub")),
        scopes=str(claims.get("scope", "")).split(),
        expires_at=int(claims["exp"]),
        resource=settings.audience,
        claims=claims,
    )
