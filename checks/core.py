"""What a check is: one promise of a step, asked over HTTP, with the section behind it and two hints."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType

import httpx2

from attacks import everything  # noqa: F401 - fills the catalogue
from attacks.core import CATALOGUE, NotHere, Outcome, Verdict
from attacks.hostile import client_of
from attacks.world import InProcess, World

Asking = Callable[[World], None]


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
    expect(answer.status_code in statuses, f"{asked(answer)} answered {answer.status_code}, not {either(statuses)}.")


def expect_refused(verdict: Verdict) -> None:
    """A verdict of `attacks.core`, like that of `denied(answer, (400, "invalid_grant"))`."""
    if verdict.outcome == Outcome.NOT_HERE:
        raise NotHere(verdict.what)
    instead = "It got in" if verdict.outcome == Outcome.GOT_IN else "It was refused in another way"
    what = verdict.what.removesuffix(" None")
    expect(verdict.outcome == Outcome.AS_SPECIFIED, f"{instead}: {what}.")


def expect_stopped(world: World, *ids: str) -> None:
    """Attacks of the catalogue, each of which must be refused as specified. The client answers from its own home."""
    for id in ids:
        attack = CATALOGUE[id]
        of_the_client = "C" in attack.answers.split(", ")
        expect_refused(attack.run(getattr(world, "home", world) if of_the_client else world))


def at_home(world: World) -> InProcess:
    """The student's own programs in this process: for the promises of the client, which is no server."""
    home = world if isinstance(world, InProcess) else getattr(world, "home", None)
    if home is None:
        raise NotHere("the client is not a server")
    return home


def client(world: World) -> ModuleType:
    """The module `client` of the step, with no token file of the user's own within reach."""
    return client_of(at_home(world))


def asked(answer: httpx2.Response) -> str:
    return f"{answer.request.method} {answer.request.url.path}"


def either(statuses: tuple[int, ...]) -> str:
    return " or ".join(map(str, statuses))
