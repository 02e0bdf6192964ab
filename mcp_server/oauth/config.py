"""The settings: read from the environment, all of them checked before anything starts."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import date
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from shared.addresses import ISSUER, RESOURCE
from shared.operating import is_loopback, may_be_http
from shared.stop import Stop

WELL_KNOWN = "/.well-known/oauth-protected-resource"
ADDRESSES = ("issuer", "audience", "jwks_uri", "introspection_endpoint")
OF_OAUTH = (*ADDRESSES, "introspection_client_id", "introspection_client_secret", "required_scopes")
URL = r"https?://([\w.-]+|\[[\da-fA-F:]+\])(:[1-9]\d{0,4})?(/[\w.~!$&'()*+,;=:%/-]*)?"
NUMBER, COUNT = r"\d{1,9}", r"[1-9]\d{0,8}"


def address(text: str) -> object:
    return re.fullmatch(URL, text, re.ASCII) and urlsplit(text).port != 0  # which raises ValueError beyond 65535


def networks(text: str) -> object:
    return [ip_network(one.strip()) for one in text.split(",")]  # as strict as uvicorn, which ignores others


def day(text: str) -> object:
    return text in ("on", "off") or date.fromisoformat(text)


def setting(default: Any, form: str | Callable[[str], object], says: str, **more: Any) -> Any:
    """`form` is what its text must match as a whole, or what must find it good; `says` is what it must be."""
    return field(default=default, metadata={"form": form, "says": says}, **more)


def fits(form: str | Callable[[str], object], text: str) -> bool:
    try:
        return bool(form(text) if callable(form) else re.fullmatch(form, text, re.ASCII))
    except ValueError:
        return False


@dataclass(frozen=True)
class Settings:
    """What an adopter decides. Times are in seconds, sizes in bytes unless a line says otherwise."""

    issuer: str = setting(ISSUER, address, "the address of the authorization server")
    audience: str = setting(RESOURCE, address, "our own address, which every token must name")  # RFC 8707 §2
    jwks_uri: str = setting("", address, "where the issuer's keys are; without it, the issuer's metadata says it")
    introspection_endpoint: str = setting("", address, "where to ask about opaque tokens; without it, they are refused")
    introspection_client_id: str = setting("", ".+", "our own name there")
    introspection_client_secret: str = setting("", ".+", "our own secret there", repr=False)
    # what the 401 names, and what operations need that declare nothing: RFC 6749 §3.3
    required_scopes: tuple[str, ...] = setting((), r"[!#-\[\]-~\s]+", "scopes with spaces between, and no quotes")
    auth_mode: str = setting("oauth", "oauth|api_key|both", "oauth, api_key or both")
    api_key_file: Path = setting(Path("api-keys.txt"), ".+", "where hashed keys are")
    api_key_deprecation_warning: str = setting("off", day, "on, off, or a day like 2027-03-31")
    leeway: int = setting(30, NUMBER, "the seconds that two clocks may differ")
    trusted_proxy: str = setting("", networks, "addresses of proxies like 10.0.0.7 or 10.0.0.0/8, with commas")
    cors_origins: tuple[str, ...] = setting((), r"(https?://[\w.:\[\]-]+[,\s]*)+", "origins like https://app.example")
    body_limit: int = setting(16_000, COUNT, "the bytes of a message at most, not 0")
    failures_per_minute: int = setting(300, COUNT, "refused tokens and keys at most, by address, not 0")
    calls_per_minute: int = setting(0, NUMBER, "calls at most, by client and person; 0 is no limit")
    token_cache_seconds: int = setting(60, NUMBER, "the seconds for which a verified token is remembered")
    token_cache_size: int = setting(10_000, COUNT, "remembered tokens at most, not 0")
    jwks_seconds: int = setting(300, COUNT, "the seconds for which keys are fresh, not 0")
    jwks_grace: int = setting(900, NUMBER, "the seconds for which old keys do while the authorization server is down")
    metrics_token: str = setting("", r"[\w.~+/-]{22,}=*", "22 characters or more, for /metrics", repr=False)
    audit_log: str = setting("", ".+", "a file; without it, the standard error stream")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Settings":
        """Raises `Stop` with one sentence for each mistake, all of them at once."""
        found, names = {}, [variable(about.name) for about in fields(cls)]
        strange = [name for name in environ if name.startswith(("OAUTH_", "API_KEY_")) and name not in names]
        meant = {name: get_close_matches(name, names, 1, 0.85) for name in strange}  # others have such names too
        mistakes = [f"{name} is no setting. Is {near[0]} meant?" for name, near in meant.items() if near]
        for about in fields(cls):
            text, kind = environ.get(variable(about.name), "").strip(), type(about.default)
            if text and not fits(about.metadata["form"], text):
                like = f", like {about.default}" if about.default else ""
                shown = f"={text}" if about.repr else ""
                mistakes.append(f"{variable(about.name)}{shown} must be {about.metadata['says']}{like}.")
            elif text:
                found[about.name] = tuple(text.replace(",", " ").split()) if kind is tuple else kind(text)
        settings = cls(**found)
        mistakes += settings.mistakes()
        if mistakes:
            raise Stop("\n".join(mistakes))
        return settings

    def mistakes(self) -> Iterator[str]:
        """What each setting for itself does not show."""
        for name in ADDRESSES:
            url = getattr(self, name)
            if url and not may_be_http(url, self.trusted_proxy if name == "audience" else ""):
                yield f"{variable(name)}={url} must be https: http does not leave this computer."
        if self.introspection_endpoint and not (self.introspection_client_id and self.introspection_client_secret):
            both = "OAUTH_INTROSPECTION_CLIENT_ID and OAUTH_INTROSPECTION_CLIENT_SECRET"
            yield f"OAUTH_INTROSPECTION_ENDPOINT needs {both}: the authorization server answers only whom it knows."
        if self.origin != self.origin.lower() or "%" in self.path:
            yield f"OAUTH_AUDIENCE={self.audience} must have its host in small letters, and no % in its path."
        issuer_here, here = (is_loopback(urlsplit(url).hostname or "") for url in (self.issuer, self.audience))
        if self.oauth and issuer_here and not here:
            yield f"OAUTH_ISSUER={self.issuer} must be set to one that others reach, as they reach {self.audience}."

    @property
    def oauth(self) -> bool:
        return self.auth_mode != "api_key"

    @property
    def origin(self) -> str:
        """As browsers have it, and metadata names it."""
        return f"{urlsplit(self.audience).scheme}://{self.hosts[0]}"

    @property
    def hosts(self) -> tuple[str, ...]:
        """As Host headers have it, with and without the port that goes without saying: RFC 9110 §4.2.3."""
        scheme, _, netloc, *_ = self.audience.split("/")
        host = netloc.removesuffix(known := ":443" if scheme == "https:" else ":80")
        return (host,) if ":" in host.rpartition("]")[2] else (host, host + known)

    @property
    def path(self) -> str:
        return urlsplit(self.audience).path or "/"

    @property
    def metadata_paths(self) -> tuple[str, ...]:
        """RFC 9728 §3.1: the path of the resource comes after the well-known one. We answer at the root too."""
        return tuple(dict.fromkeys((WELL_KNOWN + (self.path if self.path != "/" else ""), WELL_KNOWN)))

    @property
    def deprecation_headers(self) -> dict[str, str]:
        """RFC 9745 §2.1, RFC 8594 §3: keys are deprecated since this was switched on."""
        says, since = self.api_key_deprecation_warning, {"Deprecation": f"@{int(time.time())}"}
        if says in ("on", "off"):
            return since if says == "on" else {}
        return since | {"Sunset": date.fromisoformat(says).strftime("%a, %d %b %Y 00:00:00 GMT")}


def variable(name: str) -> str:
    return f"OAUTH_{name.upper()}" if name in OF_OAUTH else name.upper()
