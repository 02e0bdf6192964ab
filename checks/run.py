"""Ask the promises of a step, one after another, of servers that run; and, where that cannot be, in this process."""

import contextlib
import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

import httpx2

from attacks.core import NotHere, json_object
from attacks.run import AN_HOUR, wait_for_limits
from attacks.world import InProcess, Remote, World, listening_to_logs
from checks.core import Check, Failed
from checks.words import asked, came, one_line
from checks.worlds import Home, Own, place_of, words_of
from shared import console
from tools.catalogue import Step

PATIENCE = 60  # seconds for one check
MANY, FEW = 60, 5  # requests that no limit minds: of all, and of those where secrets could be guessed
COUNTED = ("/token", "/consent", "/revoke")


class Answer(StrEnum):
    KEPT = "ok"
    BROKEN = "no"
    LEFT_OUT = "--"


@dataclass(frozen=True)
class Result:
    check: Check
    answer: Answer
    why: str = ""
    endless: bool = False  # it never came to an end: whatever it holds, nothing more can be asked


def without_haste(step: Step) -> Step:
    """The step as it is when nobody shortens its lifetimes for a demonstration."""
    return replace(step, environment={})


def each(world: World, checks: Iterable[Check]) -> Iterator[Result]:
    """Ask one check after another. Whichever never comes to an end is the last."""
    since: list[str] = []  # what was asked since the servers had an hour of rest
    with listening_to_logs():
        for check in checks:
            world.exchanges.clear()
            result = in_time(check, world)
            yield result
            if result.endless:
                return
            since += [answer.request.url.path for answer in world.exchanges]
            if isinstance(world, InProcess) or len(since) > MANY or sum(path in COUNTED for path in since) > FEW:
                let_rest(world)
                since.clear()


def let_rest(world: World) -> None:
    """No check should feel the limits that those before it used up."""
    if not isinstance(world, (Own, InProcess)):
        return wait_for_limits(world)
    with contextlib.suppress(NotHere):
        world.later(AN_HOUR)


def in_time(check: Check, world: World) -> Result:
    """A student's loop may have no end: then the program goes on without it."""
    found: list[Result] = []
    quiet, console.out.quiet = console.out.quiet, True  # the steps' clients tell what they do
    name = f"check {check.id}"
    thread = threading.Thread(target=lambda: found.append(result_of(check, world)), name=name, daemon=True)
    try:
        thread.start()
        thread.join(PATIENCE)
    finally:
        console.out.quiet = quiet
    why = f"This did not come to an end within {PATIENCE} seconds. What follows was not asked."
    return found[0] if found else Result(check, Answer.BROKEN, why, endless=True)


def result_of(check: Check, world: World) -> Result:
    begin(world)
    try:
        check.run(world)
    except NotHere as why:
        return elsewhere(check, world, str(why))
    except httpx2.TimeoutException as error:
        why = f"{console.sentence_for(error)} What follows was not asked."
        return Result(check, Answer.BROKEN, why, endless=True)
    except BaseException as error:  # whatever a student's program does, sys.exit included, is an answer
        return Result(check, Answer.BROKEN, what_came_instead(error, world) + what_broke(world, error))
    return Result(check, Answer.KEPT)


def elsewhere(check: Check, world: World, why: str) -> Result:
    """What cannot be asked over the network can be asked in this process, if the programs are here."""
    if isinstance(world, Own):
        return result_of(check, world.home)
    if isinstance(world, Remote):
        return Result(check, Answer.LEFT_OUT, why)
    return Result(check, Answer.BROKEN, f"It is not offered: {why}.")


def begin(world: World) -> None:
    for one in ours(world):
        one.exchanges.clear()
        one.begin()


def ours(world: World) -> list[Own | Home]:
    """The world and its home, where they are programs that we started: only these can be looked into."""
    return [one for one in (world, getattr(world, "home", None)) if isinstance(one, (Own, Home))]


def what_broke(world: World, error: BaseException) -> str:
    """Where in the student's server, if what came was a 500, or nothing at all."""
    hung_up = isinstance(error, httpx2.TransportError)
    crashed = [one for one in ours(world) if hung_up or any(answer.status_code == 500 for answer in one.exchanges)]
    broke = next(filter(None, (one.broke() for one in crashed)), "")
    return f"\nThe server broke in {broke}" if broke else ""


def what_came_instead(error: BaseException, world: World) -> str:
    if isinstance(error, Failed):
        return str(error)
    if isinstance(error, httpx2.HTTPStatusError):
        answer = error.response
        said = "" if json_object(answer) else f" {one_line(answer.text)}".rstrip()
        return f"It could not begin: {asked(answer)} answered {came(answer)}{said}, and should have succeeded."
    if isinstance(error, httpx2.TransportError):
        return f"There was no answer: {console.sentence_for(error) or error!r}"
    if isinstance(error, (AssertionError, KeyError)) and not place_of(error):
        missing = f" There was no {error} in it." if isinstance(error, KeyError) else ""
        if last := world.exchanges[-1:]:
            return f"It could not begin: {asked(last[0])} answered {came(last[0])}.{missing}"
        return f"It could not begin: {error!r}"
    return of_the_programs(error)


def of_the_programs(error: BaseException) -> str:
    """What is wrong with a program itself: the file, the line, and Python's words, or ours where they say more."""
    missing = getattr(error, "name", None) if isinstance(error, (ModuleNotFoundError, AttributeError)) else None
    module = re.fullmatch(r"loaded_\d+\.(\w+)", str(missing))
    if module:
        asks = place_of(error).removesuffix(": ")
        return f"There is no {module[1]}.py" + (f", and {asks} needs it." if asks else ".")
    return f"{place_of(error)}{words_of(error)}"
