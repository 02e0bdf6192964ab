"""The issuer's public keys: kept for a while, renewed when they are old, and asked for again when one is unknown."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx2
import jwt

from .config import Settings
from .errors import RETRY_AFTER, unavailable
from .fetching import PATIENCE, Web
from .metrics import Metrics

COOL_DOWN = 60  # seconds between two questions about a `kid` that nobody has heard of
WITH_OLD_KEYS = 10  # seconds between two tries while old keys are used
LEAST_BITS = {"RS256": 2048, "ES256": 256}
PUBLIC = ("kty", "kid", "n", "e", "crv", "x", "y")
ALGORITHMS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256"}  # RFC 8725 §3.1: the key decides, not the token
log = logging.getLogger("mcp_server")


class IssuerKeys:
    """Keys by `kid`. One question to the authorization server at a time; `changed` is called after each answer."""

    def __init__(self, settings: Settings, web: Web, metrics: Metrics, changed: Callable[[], None]):
        self.settings, self.web, self.metrics, self.changed = settings, web, metrics, changed
        self.known: dict[str, jwt.PyJWK] = {}
        self.fresh_until = self.usable_until = self.try_again_at = self.unknown_again_at = 0.0  # time.monotonic()
        self.failing = False  # the last question has not been answered
        self.one_at_a_time = asyncio.Lock()

    async def named(self, kid: str) -> jwt.PyJWK | None:
        """The key, or None if the issuer publishes none of that name. Raises Refused (503) if it does not answer."""
        if kid in self.known and time.monotonic() <= self.fresh_until:
            self.metrics.key_hits.inc()
            return self.known[kid]
        self.metrics.key_misses.inc()
        await self.renew(kid)
        if self.failing and not (kid in self.known and self.usable()):  # a key that is new may have signed it
            why = "The authorization server does not show us its keys; your token may be fine, so try again soon"
            raise unavailable(why)
        return self.known.get(kid)

    async def ready(self) -> bool:
        """Whether there are keys, or they can be had. It asks no more often than a token would make us ask."""
        await self.renew()
        return self.usable()

    def usable(self) -> bool:
        """Old keys are better than none, for as long as the settings say."""
        return time.monotonic() <= self.usable_until

    async def renew(self, kid: str | None = None) -> None:
        """Somebody may have asked while we waited for our turn, so look only then whether there is a need."""
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
            self.metrics.not_fetched.inc()
        else:
            self.known, self.failing = found, False
            self.fresh_until = time.monotonic() + self.settings.jwks_seconds
            self.usable_until = self.fresh_until + self.settings.jwks_grace
            self.metrics.fetched.inc()
            self.changed()
        self.metrics.old_keys.set(self.failing and self.usable())
        return not self.failing

    async def discovered(self) -> str:
        """RFC 8414 §2 and §3.3: the issuer's metadata says where its keys are, if it is the issuer's."""
        for url in metadata_urls(self.settings.issuer):
            try:
                server = await self.web.json(url)
            except httpx2.HTTPStatusError:
                continue
            if server.get("issuer") != self.settings.issuer or not isinstance(server.get("jwks_uri"), str):
                raise ValueError(f"{url} is about another issuer, or names no jwks_uri")
            return server["jwks_uri"]
        raise ValueError(f"{self.settings.issuer} has no metadata")


def metadata_urls(issuer: str) -> list[str]:
    """RFC 8414 §3.1 and §5, in the order that MCP names: its own well-known path, then those of OpenID Connect."""
    split = urlsplit(issuer)
    origin, path = f"{split.scheme}://{split.netloc}", split.path.rstrip("/")
    urls = [f"{origin}/.well-known/{name}{path}" for name in ("oauth-authorization-server", "openid-configuration")]
    return list(dict.fromkeys([*urls, f"{origin}{path}/.well-known/openid-configuration"]))


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
