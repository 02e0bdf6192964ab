"""What a check is: one promise of a step, asked over HTTP, with the section behind it and two hints."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType

import httpx2

from attacks import everything  # noqa: F401 - fills the catalogue
from attacks.core import (
    CATALOGUE,
    NotHere,
    Outcome,
    Verdict,
    denied,
    denied_at_home,
    denied_at_the_door,
    denied_with_page,
    let_in,
)
from attacks.hostile import client_of
from attacks.world import InProcess, World
from checks.words import asked, came

Asking = Callable[[World], None]
INSTEAD = {Outcome.GOT_IN: "It got in", Outcome.OTHERWISE: "It was refused in another way"}


class Failed(Exception):
    """The promise is not kept. The message is a sentence: what came instead."""


@dataclass(frozen=True)
class Check:
    """One promise. `rule` is the function, tuple or constant that keeps it, `file` the program where it stands."""

    id: str
    step: str
    promise: str
    section: str
    rule: str
    file: str
    hints: tuple[str, str]
    run: Asking = field(repr=False)


CHECKS: dict[str, Check] = {}


def check(
    step: str, promise: str, *, section: str, rule: str, file: str, hints: tuple[str, str]
) -> Callable[[Asking], Asking]:
    """Put a function among the checks of a step, which are numbered in the order of their definition.

    It gets a `World`, and raises `Failed` with what came instead. It raises `NotHere` for what cannot be asked from
    where we stand; a check of the student's own folder is then asked once more in this process.
    """

    def enter(run: Asking) -> Asking:
        id = f"{step}-{len(of(step)) + 1}"
        CHECKS[id] = Check(id, step, promise, section, rule, file, hints, run)
        return run

    return enter


def of(step: str) -> list[Check]:
    return [check for check in CHECKS.values() if check.step == step]


# ── words for checks ──────────────────────────────────────────────────────────────────────────────


def expect(kept: object, instead: str) -> None:
    if not kept:
        raise Failed(instead)


def expect_status(answer: httpx2.Response, *statuses: int) -> None:
    expect(answer.status_code in statuses, f"{asked(answer)} answered {came(answer)}, not {either(statuses)}.")


def expect_denied(answer: httpx2.Response, *expected: tuple[int, str]) -> None:
    """An answer of /token, /register or /revoke: one of these pairs of status and error."""
    pairs = " or ".join(f"{status} {error}" for status, error in expected)
    expect_verdict(denied(answer, *expected), answer, f"{pairs}, not to be stored")


def expect_sent_home(answer: httpx2.Response, *errors: str) -> None:
    """An answer of /authorize or /consent that travels back to the client with one of these errors."""
    wanted = f"303 back to the client, with iss and with error {' or '.join(errors)}"
    expect_verdict(denied_at_home(answer, *errors), answer, wanted)


def expect_page(answer: httpx2.Response, *statuses: int) -> None:
    """An answer of /authorize or /consent that stays a page."""
    expect_verdict(denied_with_page(answer, *statuses), answer, f"a page with {either(statuses or (400,))}")


def expect_outside(answer: httpx2.Response, status: int, error: str = "") -> None:
    """An answer of the MCP server: a challenge."""
    wanted = f"{f'{status} {error}'.strip()}, in a Bearer challenge with resource_metadata"
    expect_verdict(denied_at_the_door(answer, status, error), answer, wanted)


def expect_verdict(verdict: Verdict, answer: httpx2.Response, wanted: str) -> None:
    if verdict.outcome != Outcome.AS_SPECIFIED:
        raise Failed(f"{asked(answer)} answered {came(answer)}.\nExpected: {wanted}.")


def expect_let_in(world: World, token: str) -> None:
    """The door opens for an honest token. Before that is seen, nothing that it refuses means anything."""
    answer = world.list_tools(f"Bearer {token}")
    instead = f"An honest token is not let in either: {asked(answer)} answered {came(answer)}, not 200."
    expect(answer.status_code == 200, instead)


def expect_refused(verdict: Verdict) -> None:
    """A verdict of `attacks.core` on several answers at once."""
    if verdict.outcome == Outcome.NOT_HERE:
        raise NotHere(verdict.what)
    if verdict.outcome != Outcome.AS_SPECIFIED:
        raise Failed(f"{INSTEAD[verdict.outcome]}: {without_none(verdict.what)}.")


def expect_stopped(world: World, *ids: str) -> None:
    """Attacks of the catalogue, each of which must be refused as specified. The client answers from its own home."""
    for id in ids:
        attack = CATALOGUE[id]
        of_the_client = "C" in attack.answers.split(", ")
        place = getattr(world, "home", world) if of_the_client else world
        before = len(place.exchanges)
        try:
            expect_refused(attack.run(place))
        except Failed as instead:
            wanted = f"{attack.name} ({id}), to be refused as {attack.section} says."
            raise Failed(f"{told_by(place.exchanges[before:], str(instead))}\nExpected: {wanted}") from None


def told_by(exchanges: list[httpx2.Response], verdict: str) -> str:
    """What was asked when it went wrong: a verdict has only the path or the status of the answer."""
    for answer in reversed(exchanges):
        got_in = verdict.startswith(INSTEAD[Outcome.GOT_IN]) and let_in(answer)
        if got_in and f"{answer.request.url.path} answered {answer.status_code}" in verdict:
            return f"It got in: {asked(answer)} answered {came(answer)}."
        if re.search(rf": {answer.status_code}\b", verdict) and not let_in(answer):
            return f"It was refused in another way: {asked(answer)} answered {came(answer)}."
    return verdict


def at_home(world: World) -> InProcess:
    """The student's own programs in this process: for the promises of the client, which is no server."""
    home = world if isinstance(world, InProcess) else getattr(world, "home", None)
    if home is None:
        raise NotHere("the client is not a server")
    return home


def client(world: World) -> ModuleType:
    """The module `client` of the step, with no token file of the user's own within reach."""
    return client_of(at_home(world))


def without_none(what: str) -> str:
    return what.removesuffix(" None")


def either(statuses: tuple[int, ...]) -> str:
    return " or ".join(map(str, statuses))
