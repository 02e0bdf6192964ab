"""A step's servers as the checks see them: as processes that we started, and in this process; their clock in our hand.

Both can say where in the student's programs something broke since they were last asked.
"""

import contextlib
import functools
import re
import ssl
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from attacks.core import NotHere
from attacks.loaded import Loaded
from attacks.world import ONE_REQUEST, InProcess, Remote
from checks.words import one_line, without_our_names
from shared.addresses import ISSUER, RESOURCE
from shared.running import log_file, turn_clocks
from shared.stop import Stop
from tools.catalogue import FILES, Step
from tools.clock import Clock, Monotonic

if TYPE_CHECKING:
    import time_machine

trust = functools.cache(ssl.create_default_context)  # it takes a while to read all certificates
A_MOMENT = 1  # seconds: a server answers 500 first, and then writes down why
OURS = ("attacks", "checks")  # some of our files are called like theirs
FRAME = re.compile(r'File "(?P<path>[^"]+)", line (?P<line>\d+)')
OF_A_GROUP = re.compile(r"^\s*\|\s?")  # what stands before a line of one error among several


class Home(InProcess):
    """Any step's programs in this process, wherever its folder is. What breaks in them is an answer of 500."""

    def __init__(self, step: Step):
        self.number, self.loud = step.number, False
        self.stack = contextlib.ExitStack()
        self.loaded = self.stack.enter_context(Loaded(step))
        self.loaded.clock = self.hand = Monotonic()
        self.clock = Clock()  # what we sign with: `later` turns the time of day for everybody here
        self.traveller: time_machine.Traveller | None = None
        self.crashes: list[Exception] = []

    def later(self, seconds: float) -> None:
        """Whomever the programs ask for the time, `datetime.now` in a library as well."""
        import time_machine  # it brings pytest along: only who turns the clock waits for that

        if self.traveller is None:
            self.traveller = self.stack.enter_context(time_machine.travel(datetime.now(UTC), tick=True))
        self.hand.ahead += seconds
        self.traveller.shift(time_machine.escape_hatch.time.time() + self.hand.ahead - time.time())

    def client(self, app: ASGIApp, origin: str, address: tuple[str, int]) -> TestClient:
        async def listened_to(scope: Scope, receive: Receive, send: Send) -> None:
            try:
                await app(scope, receive, send)
            except Exception as error:
                self.crashes.append(error)
                raise

        return super().client(listened_to, origin, address)

    def begin(self) -> None:
        """What broke before is forgotten."""
        self.crashes.clear()

    def broke(self) -> str:
        """Where something broke last, and with which words; nothing if nothing did."""
        return f"{place_of(self.crashes[-1])}{words_of(self.crashes[-1])}" if self.crashes else ""


class Compared:
    """How far the clocks of servers in other processes are ahead of the time of day here, which their home turns."""

    def __init__(self, servers: "Own"):
        self.servers = servers

    @property
    def ahead(self) -> float:
        return self.servers.ahead - self.servers.home.hand.ahead


class Own(Remote):
    """Servers that we started: their clock is in our hand. Beside them the same programs, in this process."""

    def __init__(self, step: Step, logs: Path | None = None):
        super().__init__(step.number, ISSUER, RESOURCE)
        self.home = Home(step)
        self.ahead = 0.0  # seconds by which we have turned their clocks
        self.clock = Compared(self)
        self.deaf = ""  # why their clocks cannot be turned
        self.folder = step.folder
        self.logs = [log_file(program, logs) for program in step.programs()] if logs else []
        self.older: dict[Path, int] = {}  # how many bytes of each log are older than the question

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
        self.ahead += seconds
        self.home.later(seconds)

    def begin(self) -> None:
        self.older = {log: log.stat().st_size for log in self.logs if log.is_file()}

    def broke(self) -> str:
        deadline = time.monotonic() + A_MOMENT
        while not (found := next(filter(None, map(self.last_words_in, self.logs)), "")):
            if time.monotonic() > deadline or not self.logs:
                break
            time.sleep(0.05)
        return found

    def last_words_in(self, log: Path) -> str:
        """Of the last traceback that is new in this log: the line of the student's program, and the error."""
        if not log.is_file():
            return ""
        said = log.read_bytes()[self.older.get(log, 0) :].decode("utf-8", "replace")
        return end_of_traceback(said, self.folder)


def end_of_traceback(said: str, folder: str) -> str:
    rows = [OF_A_GROUP.sub("", row) for row in said.splitlines()]
    found = [(number, match) for number, row in enumerate(rows) if (match := FRAME.search(row))]
    own = [(number, match) for number, match in found if Path(match["path"]).parent.name == folder]
    if not own:
        return ""
    number, match = own[-1]
    error = next((row for row in rows[number + 1 :] if row and not row[0].isspace()), "")
    return f"{Path(match['path']).name}, line {match['line']}: {without_our_names(one_line(error))}"


def place_of(error: BaseException) -> str:
    """Where in a program of the student it broke."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}, line {error.lineno}: "
    frames = traceback.extract_tb(error.__traceback__)
    paths = [(Path(frame.filename), frame.lineno) for frame in frames]
    inside = [(path.name, line) for path, line in paths if path.name in FILES and path.parent.name not in OURS]
    return "{}, line {}: ".format(*inside[-1]) if inside else ""


def words_of(error: BaseException) -> str:
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    return without_our_names(f"{type(error).__name__}: {one_line(said)}")
