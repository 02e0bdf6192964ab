"""Ask the promises of a step, one after another, of servers that run; and, where that cannot be, in this process."""

import contextlib
import functools
import ssl
import threading
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import httpx2

from attacks.core import NotHere
from attacks.loaded import Loaded
from attacks.run import AN_HOUR, wait_for_limits
from attacks.world import ONE_REQUEST, InProcess, Remote, World, listening_to_logs
from checks.core import Check, Failed, asked
from shared import console
from shared.addresses import ISSUER, RESOURCE
from shared.running import turn_clocks
from shared.stop import Stop
from tools.catalogue import FILES, Step

trust = functools.cache(ssl.create_default_context)  # it takes a while to read all certificates
PATIENCE = 60  # seconds for one check
MANY, FEW = 60, 5  # requests that no limit minds: of all, and of those where secrets could be guessed
COUNTED = ("/token", "/consent", "/revoke")
LONGEST = 120  # characters of what a server said


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


class Home(InProcess):
    """Any step's programs in this process, wherever its folder is. What breaks in them is an answer of 500."""

    def __init__(self, step: Step):
        self.number, self.loud = step.number, False
        self.stack = contextlib.ExitStack()
        self.loaded = self.stack.enter_context(Loaded(step))
        self.clock = self.loaded.clock


class Own(Remote):
    """Servers that we started: their clock is in our hand. Beside them the same programs, in this process."""

    def __init__(self, step: Step):
        super().__init__(step.number, ISSUER, RESOURCE)
        self.home = Home(step)
        self.deaf = ""  # why their clocks cannot be turned

    def __enter__(self) -> "Own":
        self.stack.enter_context(self.home)
        return super().__enter__()

    def client(self, origin: str) -> httpx2.Client:
        hooks = {"response": [self.remember]}
        client = httpx2.Client(base_url=origin, timeout=10, event_hooks=hooks, verify=trust(), limits=ONE_REQUEST)
        return self.stack.enter_context(client)

    def later(self, seconds: float) -> None:
        """A program that was written anew in another framework may not follow our orders. It is told only once."""
        if self.deaf:
            raise NotHere(self.deaf)
        try:
            turn_clocks(seconds)
        except Stop as why:
            self.deaf = str(why)
            raise NotHere(self.deaf) from None
        self.clock.ahead += seconds
        self.home.later(seconds)


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
    try:
        check.run(world)
    except NotHere as why:
        return elsewhere(check, world, str(why))
    except httpx2.TimeoutException as error:
        why = f"{console.sentence_for(error)} What follows was not asked."
        return Result(check, Answer.BROKEN, why, endless=True)
    except BaseException as error:  # whatever a student's program does, sys.exit included, is an answer
        return Result(check, Answer.BROKEN, what_came_instead(error))
    return Result(check, Answer.KEPT)


def elsewhere(check: Check, world: World, why: str) -> Result:
    """What cannot be asked over the network can be asked in this process, if the programs are here."""
    if isinstance(world, Own):
        return result_of(check, world.home)
    if isinstance(world, Remote):
        return Result(check, Answer.LEFT_OUT, why)
    return Result(check, Answer.BROKEN, f"It is not offered: {why}.")


def what_came_instead(error: BaseException) -> str:
    if isinstance(error, Failed):
        return str(error)
    if isinstance(error, httpx2.HTTPStatusError):
        return f"{asked(error.response)} answered {error.response.status_code} {error.response.text[:LONGEST]}".strip()
    if isinstance(error, httpx2.TransportError):
        return f"There was no answer: {console.sentence_for(error) or error!r}"
    if isinstance(error, AssertionError):
        return f"It could not begin: {one_line(str(error))}"
    if isinstance(error, KeyError):
        return f"It could not begin: there was no {error}."
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{place_of(error)}{type(error).__name__}: {one_line(said)}"


def one_line(text: str) -> str:
    return " ".join(text.split())[:LONGEST]


def place_of(error: BaseException) -> str:
    """Where in a program of the student it broke."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}, line {error.lineno}: "
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if Path(frame.filename).name in FILES]
    return f"{Path(inside[-1].filename).name}, line {inside[-1].lineno}: " if inside else ""
