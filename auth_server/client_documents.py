"""Clients that nobody registered: their `client_id` is the URL of a document about them.

Client ID Metadata Documents, draft-ietf-oauth-client-id-metadata-document-00 (CIMD below); MCP 2025-11-25 and later.
"""

import json
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from shared.limits import Window
from shared.operating import is_loopback

from .context import OAuthError
from .fetching import CannotFetch, Fetched, Fetcher, Unreachable
from .registration import REGISTRABLE, REGISTRATION_RULES, known_grants
from .settings import Settings
from .storage import Client

Fetch = Callable[[str, bool], Awaitable[Fetched]]

USUAL_AGE = 300  # seconds, for a document whose server says nothing about it
LEAST_AGE, LONGEST_AGE = 60, 86_400  # seconds, whatever its server says: one flow needs it more than once
LAST_GOOD = 3600  # seconds that it counts beyond its age, while nobody answers there
MOST_KEPT = 1000  # documents
FETCHES = 30  # a minute, by asker and host, so that nobody uses us to flood somebody else
SILENCE = {"token_endpoint_auth_method": "none", "client_name": ""}  # what it means; else as for whoever registers
KEPT = ("client_name", "redirect_uris", "scope", "jwks", "token_endpoint_auth_method")  # what we use of a document


def plain_url(url: str, settings: Settings) -> bool:
    """Nothing that two programs could read in two ways: RFC 3986 §2, and a host and a port that are one."""
    if not re.fullmatch(r"[A-Za-z0-9._~:/?#@!$&'()*+,;=%\[\]-]{1,500}", url):
        return False
    try:
        return bool(urlsplit(url).hostname) and urlsplit(url).port != 0
    except ValueError:
        return False


def https_or_here(url: str, settings: Settings) -> bool:
    return url.startswith("https://") or on_this_computer(url, settings)  # CIMD §3


def has_a_path(url: str, settings: Settings) -> bool:
    return urlsplit(url).path not in ("", "/")  # CIMD §3


def no_fragment(url: str, settings: Settings) -> bool:
    return "#" not in url  # CIMD §3


def no_userinfo(url: str, settings: Settings) -> bool:
    return "@" not in urlsplit(url).netloc  # CIMD §3


def no_dot_segments(url: str, settings: Settings) -> bool:
    return not {".", ".."} & set(unquote(urlsplit(url).path).split("/"))  # CIMD §3


def no_ip_literal(url: str, settings: Settings) -> bool:
    """A host that ends in a number is an address in one of its disguises, like 0x7f.1 or 2130706433."""
    host = urlsplit(url).hostname or ""
    number = re.fullmatch(r"[0-9]+|0x[0-9a-f]*", host.rstrip(".").rpartition(".")[2])
    return on_this_computer(url, settings) or not (number or ":" in host)


URL_RULES = (plain_url, https_or_here, has_a_path, no_fragment, no_userinfo, no_dot_segments, no_ip_literal)


def on_this_computer(url: str, settings: Settings) -> bool:
    """For development, if the settings say so."""
    return settings.loopback_documents and is_loopback(urlsplit(url).hostname or "")


def names_itself(document: dict[str, Any], url: str) -> None:
    if document.get("client_id") != url:
        raise unusable("its client_id is not its own URL")  # CIMD §4.1


def has_a_name(document: dict[str, Any], url: str) -> None:
    if not str(document["client_name"]).strip():
        raise unusable("client_name is missing")  # MCP asks for it


def shares_no_secret(document: dict[str, Any], url: str) -> None:
    """What everybody can read is no secret."""
    shared = {"client_secret", "client_secret_expires_at"} & set(document)
    if shared or document["token_endpoint_auth_method"] not in ("none", "private_key_jwt"):
        raise unusable("it must have no client_secret, and no method that takes one")  # CIMD §4.1


DOCUMENT_RULES = (names_itself, has_a_name, shares_no_secret)  # and those that hold for whoever registers


def unusable(why: str) -> OAuthError:
    return OAuthError("invalid_client", f"The document at this client_id cannot be used: {why}.")


@dataclass
class Kept:
    """Both are seconds since 1970."""

    client: Client
    fresh_until: float
    good_until: float


class Documents:
    """What we read lately. `fetch` takes a URL and whether it must be on this computer; it raises `CannotFetch`."""

    def __init__(self, settings: Settings, fetch: Fetch | None = None):
        self.settings = settings
        self.fetch = fetch or Fetcher()
        self.kept: dict[str, Kept] = {}
        self.fetches = Window(FETCHES)

    async def client(self, client_id: str, asker: str) -> Client | None:
        """The client that this URL describes, kept for as long as its server says; None if it cannot be a client's.

        `asker`: on whose account we look for it. Raises `OAuthError`: invalid_client with the reason, or 503 if nobody
        answers there, or if we fetch too much from there for this asker.
        """
        on = self.settings.client_metadata_documents
        if not on or not all(rule(client_id, self.settings) for rule in URL_RULES):
            return None
        known = self.kept.get(client_id)
        if known is None or time.time() >= known.fresh_until:
            known = await self.renewed(client_id, asker, known)
        self.kept.pop(client_id, None)
        if len(self.kept) >= MOST_KEPT:
            del self.kept[next(iter(self.kept))]  # the one that nobody has used for longest
        self.kept[client_id] = known
        return known.client

    async def renewed(self, client_id: str, asker: str, known: Kept | None) -> Kept:
        """The last good one counts until there is another. To renew it is on nobody's account, once a minute."""
        now = time.time()
        still_good = known is not None and now < known.good_until
        if still_good:
            known.fresh_until = now + LEAST_AGE  # nobody else need look meanwhile, or soon if nobody answers
        else:
            self.count(asker, urlsplit(client_id).hostname)
        try:
            fetched = await self.fetch(client_id, on_this_computer(client_id, self.settings))
            fresh_until = time.time() + age_limit(fetched.headers)
            return Kept(client_of(fetched.body, client_id), fresh_until, fresh_until + LAST_GOOD)
        except Unreachable as problem:
            if still_good:
                return known
            why = f"The document at this client_id cannot be read now: {problem}."
            raise OAuthError("temporarily_unavailable", why, 503, 5) from None
        except (CannotFetch, OAuthError) as no:
            self.kept.pop(client_id, None)
            raise (no if isinstance(no, OAuthError) else unusable(str(no))) from None

    def count(self, asker: str, host: str) -> None:
        if wait := self.fetches.wait((asker, host)):
            why = "We have looked for too many documents there. Try again later."
            raise OAuthError("temporarily_unavailable", why, 503, wait)
        self.fetches.count((asker, host))


def client_of(body: bytes, url: str) -> Client:
    """Raises `OAuthError` unless it is a client's document, and at home there."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise unusable("it is not a JSON object")
    document = REGISTRABLE | SILENCE | found
    for rule in DOCUMENT_RULES:
        rule(document, url)
    try:
        for rule in REGISTRATION_RULES:
            rule(document | {"application_type": "native"})  # so that redirect_uris of both kinds may be among them
    except OAuthError as no:
        raise unusable(no.why) from None
    registered = {name: document[name] for name in KEPT if name in SILENCE | found}
    return Client(url, registered | {"grant_types": known_grants(document)}, kind="document")


def age_limit(headers: dict[str, str]) -> float:
    """How many seconds its server lets us keep it, within our own limits: RFC 9111 §4.2, §5.3, CIMD §4.3."""
    control = headers.get("cache-control", "").lower()
    if re.search(r"no-store|no-cache|private", control):
        return LEAST_AGE
    if fresh := re.search(r"max-age=\"?([0-9]{0,10})", control):
        seconds = float(fresh[1] or 0)
    elif "expires" in headers:
        try:
            expires, now = (parsedate_to_datetime(headers[name]).timestamp() for name in ("expires", "date"))
            seconds = expires - now
        except (ValueError, KeyError, OverflowError):
            seconds = 0  # an odd date is one in the past
    else:
        seconds = USUAL_AGE
    return min(max(seconds, LEAST_AGE), LONGEST_AGE)
