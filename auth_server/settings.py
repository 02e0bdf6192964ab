"""Settings: from one TOML file and the environment, all checked before anything starts.

A setting `code_lifetime` is `code_lifetime = 60` in the file and `AS_CODE_LIFETIME=60` in the environment, which wins.
"""

import dataclasses
import difflib
import ipaddress
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from shared.addresses import ISSUER
from shared.operating import is_loopback
from shared.stop import Stop

DEMO_DATA = "data/demo"
ALGORITHMS = ("RS256", "ES256")
SEGMENT = r"/[A-Za-z0-9._~!$&'()*+,;=:@-]+"  # of a path that everybody writes alike: RFC 3986 §3.3, less its escapes


def setting(default: Any, says: str) -> Any:
    return field(default=default, metadata={"says": says})


@dataclass(frozen=True)
class Settings:
    """Lifetimes are in seconds. `Settings.load` makes one and checks it."""

    issuer: str = setting(ISSUER, "what the world calls this server; may have a path: RFC 8414 §2")
    listen: str = setting("", "HOST:PORT to listen at; empty: loopback, at the port of the issuer")
    certificate: str = setting("", "a PEM file; with `key` it makes the server speak TLS")
    key: str = setting("", "a PEM file")
    proxies: str = setting("", "proxies before this server, addresses or networks with commas: they speak TLS for it")
    data: str = setting("data/auth_server", "the folder for database and keys; nobody else needs to read it")
    database: str = setting("", "a database by its SQLAlchemy URL; empty: a SQLite file in `data`")
    audit: str = setting("", "the file for the audit trail; empty: standard error")
    initial_access_token: str = setting("", "whoever shows it registers machines over HTTP: RFC 7591 §3; empty: nobody")
    open_registration: bool = setting(True, "whether anybody may register a client that acts for people: RFC 7591 §3")
    client_metadata_documents: bool = setting(True, "whether a URL can be a client_id")
    loopback_documents: bool = setting(False, "whether such a URL may be http on this computer; for development")
    metrics_token: str = setting("", "whoever shows it reads /metrics from elsewhere; empty: this computer alone does")
    demo: bool = setting(False, "alice, bob and the demo resources, with their passwords on the page; loopback only")
    signing_algorithm: str = setting("RS256", "with which of our two keys tokens are signed: RS256 or ES256")
    key_overlap: int = setting(300, "how long a new key is published before it signs")
    code_lifetime: int = setting(60, "of a code: at most 600, OAuth 2.1 §4.1.2")
    token_lifetime: int = setting(600, "of an access token")
    refresh_lifetime: int = setting(30 * 86_400, "of a refresh token; each use brings a new one")
    session_lifetime: int = setting(8 * 3600, "how long a browser stays signed in")
    ask_lifetime: int = setting(600, "how long login and consent pages can be answered")
    unused_client_lifetime: int = setting(90 * 86_400, "after which a registered client that nobody uses is forgotten")
    purge_every: int = setting(60, "how often expired rows are deleted")
    rate_window: int = setting(60, "in which the limits below count")
    failures_per_window: int = setting(20, "wrong codes, secrets and passwords, by endpoint and address")
    requests_per_window: int = setting(100, "registrations and authorization requests, by endpoint and address")

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{Path(self.data) / 'auth_server.db'}"

    @cached_property
    def path(self) -> str:
        """The path of the issuer, without a slash at its end: where all endpoints live."""
        return urlsplit(self.issuer).path.rstrip("/")

    @cached_property
    def origin(self) -> str:
        return self.issuer.removesuffix(urlsplit(self.issuer).path)

    @cached_property
    def secure(self) -> bool:
        """Whether browsers reach us over TLS."""
        return self.issuer.startswith("https://")

    @classmethod
    def load(cls, environ: Mapping[str, str], file: Path | None = None, **named: object) -> "Settings":
        """What is named here wins over the environment, and that over the file.

        Raises `Stop` with one sentence per mistake, all of them at once.
        """
        mistakes: list[str] = []
        ours = [name for name in environ if name.startswith("AS_") and name != "AS_PORT"]  # that is `shared.addresses`
        told = {VARIABLES[name]: environ[name] for name in ours if name in VARIABLES}
        told = {name: from_text(KINDS[name], text) for name, text in told.items()}
        found = (read(file, mistakes) if file else {}) | told | named
        mistakes += [no_such(name, VARIABLES) for name in ours if name not in VARIABLES]
        mistakes += [no_such(name, KINDS) for name in found if name not in KINDS]
        wrong = [name for name in set(found) & set(KINDS) if type(found[name]) is not KINDS[name]]
        mistakes += [f"{name} must be {WANTED[KINDS[name]]}." for name in wrong]
        settings = dataclasses.replace(cls(), **{n: found[n] for n in set(found) & set(KINDS) - set(wrong)})
        if settings.demo and settings.data == cls.data:
            settings = dataclasses.replace(settings, data=DEMO_DATA)  # its passwords are known to everybody
        mistakes += [why for rule in SETTINGS_RULES if (why := rule(settings))]
        if mistakes:
            raise Stop("\n".join(mistakes))
        return settings


KINDS = {about.name: type(about.default) for about in dataclasses.fields(Settings)}
VARIABLES = {f"AS_{name.upper()}": name for name in KINDS}
WANTED = {str: "text", int: "a whole number", bool: "true or false"}
YES_OR_NO = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def read(file: Path, mistakes: list[str]) -> dict[str, object]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        mistakes.append(f"{file} cannot be read: {error.strerror}.")
    except ValueError as error:
        mistakes.append(f"{file} is not TOML: {error}.")
    return {}


def from_text(kind: type, text: str) -> object:
    """What the environment says, as what it should be; text if it cannot be meant."""
    if kind is bool:
        return YES_OR_NO.get(text.lower(), text)
    return int(text) if kind is int and re.fullmatch(r"[0-9]{1,9}", text) else text


def no_such(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"There is no setting {name!r}." + (f" Did you mean {near[0]!r}?" if near else "")


def host_of(url: str) -> str:
    """Empty if there is none, or a port that cannot be."""
    try:
        split = urlsplit(url)
        return "" if split.netloc.endswith(":") or split.port == 0 else split.hostname or ""
    except ValueError:
        return ""


def leads_elsewhere(url: str) -> bool:
    return bool(host_of(url)) and not is_loopback(host_of(url))


def issuer_is_a_place(settings: Settings) -> str | None:
    well_formed = re.fullmatch(rf"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?({SEGMENT})*", settings.issuer)
    if not well_formed or not host_of(settings.issuer):
        return f"issuer {settings.issuer!r} must be a URL like https://as.example, in ASCII, and end without a slash."


def listen_is_a_place(settings: Settings) -> str | None:
    if settings.listen and not host_of(f"//{settings.listen}"):
        return f"listen {settings.listen!r} must be HOST:PORT, like 0.0.0.0:8443."


def http_stays_here(settings: Settings) -> str | None:
    if not settings.secure and leads_elsewhere(settings.issuer):
        return f"issuer {settings.issuer!r} must be https: http is for this computer alone (OAuth 2.1 §1.5)."
    if not settings.secure and leads_elsewhere(f"//{settings.listen}"):
        return f"listen {settings.listen!r} lets others in without TLS: give an https issuer (OAuth 2.1 §1.5)."


def demo_stays_here(settings: Settings) -> str | None:
    if settings.demo and (settings.database or any(map(leads_elsewhere, (settings.issuer, f"//{settings.listen}")))):
        why = "its passwords are on the page, and stay in the database"
        return f"demo is for this computer alone: {why}. Use issuer and listen on localhost, and no other database."


def https_comes_from_somewhere(settings: Settings) -> str | None:
    if bool(settings.certificate) != bool(settings.key) or settings.secure and not (settings.key or settings.proxies):
        return "An https issuer takes certificate and key, or proxies that speak TLS before this server."


def proxies_are_addresses(settings: Settings) -> str | None:
    try:
        for one in settings.proxies.split(",") if settings.proxies else ():
            ipaddress.ip_network(one.strip())
    except ValueError:
        return f"proxies must be addresses or networks, like 10.0.0.5,10.1.0.0/16: {one.strip()!r} is none."


def known_algorithm(settings: Settings) -> str | None:
    if settings.signing_algorithm not in ALGORITHMS:
        return f"signing_algorithm must be one of {', '.join(ALGORITHMS)}."


def sensible_times(settings: Settings) -> str | None:
    if not 1 <= settings.code_lifetime <= 600:
        return "code_lifetime must be 1 to 600 seconds (OAuth 2.1 §4.1.2)."
    if settings.refresh_lifetime < settings.token_lifetime:
        return "refresh_lifetime must not be shorter than token_lifetime: what it came of would end before the token."
    for name, kind in KINDS.items():
        least = 0 if name == "key_overlap" else 1
        if kind is int and not least <= getattr(settings, name) < 10**9:
            return f"{name} must be at least {least}, and have nine digits at most."


def secret_enough(settings: Settings) -> str | None:
    for name in ("initial_access_token", "metrics_token"):
        if 0 < len(getattr(settings, name)) < 22:
            return f"{name} must have 22 characters or more: 128 bits."


SETTINGS_RULES = (
    issuer_is_a_place,
    listen_is_a_place,
    http_stays_here,
    demo_stays_here,
    https_comes_from_somewhere,
    proxies_are_addresses,
    known_algorithm,
    sensible_times,
    secret_enough,
)
