"""The issuer's public keys: kept for a while, renewed when they are old, and asked for again when one is unknown."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

import httpx2
import jwt
from mcp.client.auth.utils import build_oauth_authorization_server_metadata_discovery_urls as metadata_urls
from pydantic_core import from_json

from shared.operating import may_be_http

from .config import Settings
from .errors import RETRY_AFTER, unavailable
from .metrics import Metrics

PATIENCE = 3  # seconds, for everything that one decision needs
MOST = 1_000_000  # bytes of an answer
COOL_DOWN = 60  # seconds between two questions about a `kid` that nobody has heard of
WITH_OLD_KEYS = 10  # seconds between two tries while old keys are used
LEAST_BITS = {"RS256": 2048, "ES256": 256}
PUBLIC = ("kty", "kid", "n", "e", "crv", "x", "y")
ALGORITHMS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256"}  # RFC 8725 §3.1: the key decides, not the token
log = logging.getLogger("mcp_server")


class Web:
    """One HTTP client for everything. It is made when it is first needed, because making it takes time."""

    def __init__(self, http: httpx2.AsyncClient | None = None):
        self.http = http

    def client(self) -> httpx2.AsyncClient:
        self.http = self.http or httpx2.AsyncClient()
        return self.http

    async def json(self, url: str, method: str = "GET", **request: Any) -> Any:
        """Raises ValueError or httpx2.HTTPError, whose messages hold no secret."""
        if not may_be_http(url, ""):
            raise ValueError(f"{url} is not https")
        body, headers = b"", {"Accept": "application/json", "Accept-Encoding": "identity"}
        async with self.client().stream(method, url, headers=headers, **request) as answer:
            async for chunk in answer.raise_for_status().aiter_raw():
                body += chunk
                if len(body) > MOST:
                    raise ValueError(f"{url} sends more than {MOST} bytes")
        return from_json(body)


class IssuerKeys:
    """Keys by `kid`. One question to the authorization server at a time; `changed` is called after each answer."""

    def __init__(self, settings: Settings, web: Web, metrics: Metrics, changed: Callable[[], None]):
        self.settings, self.web, self.metrics, self.changed = settings, web, metrics, changed
        self.known: dict[str, jwt.PyJWK] = {}
        self.fresh_until = self.usable_until = self.try_again_at = self.unknown_again_at = 0.0  # time.monotonic()
        self.failing = False  # the last question has not been answered
        self.one_at_a_time = asyncio.Lock()

    async def named(self, kid: object) -> jwt.PyJWK | None:
        """The key, or None if the issuer publishes none of that name. Raises Refused (503) if it does not answer."""
        if not isinstance(kid, str):
            return None
        if kid in self.known and time.monotonic() <= self.fresh_until:
            self.metrics.counts["mcp_auth_key_cache", "hit"] += 1
            return self.known[kid]
        self.metrics.counts["mcp_auth_key_cache", "miss"] += 1
        await self.renew(kid)
        if self.failing and not (kid in self.known and self.usable()):  # a key that is new may have signed it
            raise unavailable()
        return self.known.get(kid)

    def usable(self) -> bool:
        """Old keys are better than none, for as long as the settings say."""
        return time.monotonic() <= self.usable_until

    async def renew(self, kid: str | None = None) -> None:
        """Ask if there is a need. Somebody may have asked while we waited for our turn, so look only then."""
        async with self.one_at_a_time:
            now = time.monotonic()
            old = now > self.fresh_until
            unknown = kid is not None and kid not in self.known and now > self.unknown_again_at
            if (old or unknown) and now >= self.try_again_at and await self.fetch() and not old:
                self.unknown_again_at = now + COOL_DOWN

    async def fetch(self) -> bool:
        try:
            async with asyncio.timeout(PATIENCE):
                found = usable_keys(await self.web.json(self.settings.jwks_uri or await self.discovered()))
        except Exception as error:  # whatever is wrong with what they sent, we have no new keys
            log.warning("no keys from the authorization server: %r", error)
            self.failing = True
            self.try_again_at = time.monotonic() + (WITH_OLD_KEYS if self.usable() else RETRY_AFTER)
            self.metrics.counts["mcp_auth_key_fetches", "failed"] += 1
        else:
            self.known, self.failing = found, False
            self.fresh_until = time.monotonic() + self.settings.jwks_seconds
            self.usable_until = self.fresh_until + self.settings.jwks_grace
            self.metrics.counts["mcp_auth_key_fetches", "done"] += 1
            self.changed()
        self.metrics.old_keys.set(self.failing and self.usable())
        return not self.failing

    async def discovered(self) -> str:
        """RFC 8414 §2 and §3.3: the issuer's metadata says where its keys are, if it is the issuer's."""
        for url in metadata_urls(self.settings.issuer, self.settings.audience):
            try:
                server = await self.web.json(url)
            except httpx2.HTTPStatusError:
                continue
            if server.get("issuer") != self.settings.issuer or not isinstance(server.get("jwks_uri"), str):
                raise ValueError(f"{url} is about another issuer, or names no jwks_uri")
            return server["jwks_uri"]
        raise ValueError(f"{self.settings.issuer} has no metadata")


def usable_keys(key_set: dict) -> dict[str, jwt.PyJWK]:
    """Public keys for signatures, each tied to one algorithm. RFC 7517 §5: others are left out. Raises ValueError."""
    found = {}
    for about in key_set["keys"]:
        with contextlib.suppress(Exception):  # whatever is wrong with what they sent, it is no key
            algorithm = ALGORITHMS[about["kty"], about.get("crv")]
            key = jwt.PyJWK({name: about[name] for name in PUBLIC if name in about}, algorithm)
            fits = about.get("use", "sig") == "sig" and about.get("alg", algorithm) == algorithm
            if fits and isinstance(about["kid"], str) and key.key.key_size >= LEAST_BITS[algorithm]:
                found[about["kid"]] = key
    if not found:
        raise ValueError("there is no key that we could use")
    return found
