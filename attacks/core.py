"""What an attack is, and the four ways it can end."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import parse_qsl, urlsplit

import httpx2


class Outcome(StrEnum):
    """In order of harm: the worst of several is the first of them here."""

    GOT_IN = "got in"
    OTHERWISE = "refused otherwise"
    AS_SPECIFIED = "refused as specified"
    NOT_HERE = "not here"  # the target does not offer what is attacked


@dataclass(frozen=True)
class Verdict:
    outcome: Outcome
    what: str = ""

    def __str__(self) -> str:
        return f"{self.outcome}: {self.what}" if self.what else str(self.outcome)


class NotHere(Exception):
    """The target does not offer what this attack is about, or cannot be attacked this way from outside."""


@dataclass(frozen=True)
class Attack:
    """One row of the catalogue. `stopped_from` is the first step that must refuse it as specified."""

    id: str
    name: str
    section: str
    answers: str
    stopped_from: str
    run: Callable[..., Verdict] = field(repr=False)

    @property
    def number(self) -> int:
        return int(self.id.removeprefix("ATK-"))


CATALOGUE: dict[str, Attack] = {}


def attack(
    id: str, name: str, section: str, answers: str, stopped_from: str
) -> Callable[[Callable[..., Verdict]], Callable[..., Verdict]]:
    """Put a function into the catalogue. It gets a `World` and returns a `Verdict`."""

    def enter(run: Callable[..., Verdict]) -> Callable[..., Verdict]:
        assert id not in CATALOGUE, id
        CATALOGUE[id] = Attack(id, name, section, answers, stopped_from, run)
        return run

    return enter


# ── verdicts ──────────────────────────────────────────────────────────────────────────────────────


def got_in(what: str) -> Verdict:
    return Verdict(Outcome.GOT_IN, what)


def otherwise(what: str) -> Verdict:
    return Verdict(Outcome.OTHERWISE, what)


def as_specified(what: str = "") -> Verdict:
    return Verdict(Outcome.AS_SPECIFIED, what)


def worst(*verdicts: Verdict) -> Verdict:
    """Of several tries, the one that went furthest."""
    return min(verdicts, key=lambda verdict: list(Outcome).index(verdict.outcome))


def denied(answer: httpx2.Response, *expected: tuple[int, str]) -> Verdict:
    """An answer of /token, /register, /revoke: one of these pairs of status and error, and not to be stored."""
    if let_in(answer):
        return got_in(f"{answer.request.url.path} answered {answer.status_code}")
    error = json_object(answer).get("error")
    if (answer.status_code, error) not in expected:
        return otherwise(f"{answer.status_code} {error}")
    if answer.headers.get("cache-control") != "no-store":
        return otherwise(f"{answer.status_code} {error} without no-store")
    return as_specified(f"{answer.status_code} {error}")


def denied_at_home(answer: httpx2.Response, *errors: str) -> Verdict:
    """An answer of /authorize or /consent that travels back to the client with one of these errors."""
    if let_in(answer):
        return got_in(f"{answer.request.url.path} answered {answer.status_code}")
    found = answer_in(answer)
    if answer.status_code not in (302, 303) or found.get("error") not in errors or "iss" not in found:
        return otherwise(f"{answer.status_code} {found.get('error', '')}".strip())
    return as_specified(f"{answer.status_code} {found['error']}")


def denied_with_page(answer: httpx2.Response, *statuses: int) -> Verdict:
    """An answer of /authorize or /consent that stays a page: the browser is sent nowhere."""
    if answer.has_redirect_location:
        return got_in(f"sent to {answer.headers['location'].partition('?')[0]}")
    if let_in(answer):
        return got_in("the consent page was shown")
    if answer.status_code not in (statuses or (400,)) or "text/html" not in answer.headers.get("content-type", ""):
        return otherwise(f"{answer.status_code} {answer.headers.get('content-type')}")
    return as_specified(f"{answer.status_code} page")


def denied_at_the_door(answer: httpx2.Response, status: int, error: str = "") -> Verdict:
    """An answer of the MCP server: the status, and a challenge with this error (none if it is empty)."""
    if let_in(answer):
        return got_in(f"{answer.request.url.path} answered {answer.status_code}")
    challenge = answer.headers.get("www-authenticate", "")
    named = f'error="{error}"' in challenge if error else "error=" not in challenge
    complete = challenge.startswith("Bearer ") and "resource_metadata=" in challenge
    if answer.status_code != status or not named or not complete:
        return otherwise(f"{answer.status_code} {challenge}".strip())
    return as_specified(f"{answer.status_code} {error}".strip())


def denied_for_now(answer: httpx2.Response) -> Verdict:
    """Too much, too fast: the answer says when to come back."""
    if answer.status_code == 429 and not answer.headers.get("retry-after", "").isdigit():
        return otherwise("429 without Retry-After")
    return denied(answer, (429, "temporarily_unavailable"))


def denied_this_way(answer: httpx2.Response, *allowed: str) -> Verdict:
    """A method that the endpoint does not have: the answer says which ones it has."""
    if let_in(answer):
        return got_in(f"{answer.request.method} {answer.request.url.path} answered {answer.status_code}")
    methods = set(answer.headers.get("allow", "").replace(" ", "").split(","))
    if answer.status_code != 405 or methods != set(allowed):
        return otherwise(f"{answer.status_code}, allowed: {answer.headers.get('allow')}")
    return as_specified("405")


def let_in(answer: httpx2.Response) -> bool:
    """A token, a code, a registration, a consent page, or a result from behind the door."""
    if answer.status_code in (302, 303):
        return "code" in answer_in(answer)
    if answer.status_code not in (200, 201):
        return False
    if "text/html" in answer.headers.get("content-type", ""):
        return "<form" in answer.text
    found = json_object(answer)
    if "jsonrpc" in found:
        return "result" in found
    return bool({"access_token", "client_id", "result"} & set(found)) or answer.request.url.path == "/mcp"


def answer_in(redirect: httpx2.Response) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(redirect.headers.get("location", "")).query))


def json_object(answer: httpx2.Response) -> dict:
    try:
        found = answer.json()
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def in_order() -> Iterator[Attack]:
    yield from sorted(CATALOGUE.values(), key=lambda attack: attack.number)
