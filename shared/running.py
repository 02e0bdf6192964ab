"""Start the servers of a step as processes of their own, and end every one of them whatever happens."""

import contextlib
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import httpx2

from shared import tracing
from shared.console import note
from shared.serving import AUDIT_LOG, FAILED, OBEYED, PROGRAM_NAME, STOP_AT_END_OF_INPUT, check_free
from shared.stop import Stop

PATIENCE = 30  # seconds until a server must be up
FAREWELL = 3  # seconds until a server must be gone
ours: dict[str, "Started"] = {}  # the servers that this very process has started, by name


@dataclass(frozen=True)
class Program:
    """A server: the module to run, the port it will listen on, and what its environment says differently.

    `under` is a module that runs it, and knows how to follow orders that no server would take from the network.
    """

    name: str
    module: str
    port: int
    environment: dict[str, str] = field(default_factory=dict)
    under: str = ""


@contextlib.contextmanager
def running(
    programs: list[Program], logs: Path | None = None, meanwhile: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """Run `programs` for the length of the block. Their output goes to files in `logs`, or to the terminal.

    They take a second to start; `meanwhile` is called in that second.
    """
    check_free([program.port for program in programs])
    with contextlib.ExitStack() as stack:
        stack.enter_context(ended_like_ctrl_c())
        servers = [stack.enter_context(process(program, logs)) for program in programs]
        stack.callback(lambda: [started.end_its_input() for started in servers])  # all at once, then wait
        meanwhile()
        for started in servers:
            started.wait_until_healthy()
        ours.update({started.program.name: started for started in servers})
        stack.callback(ours.clear)
        yield


@contextlib.contextmanager
def process(program: Program, logs: Path | None) -> Iterator["Started"]:
    """One server, which is gone after the block, however it ends."""
    if logs:
        logs.mkdir(parents=True, exist_ok=True)
        log_file(program, logs).unlink(missing_ok=True)
        audit_file(program, logs).unlink(missing_ok=True)
        events_file(program, logs).unlink(missing_ok=True)
    started = Started(program, logs)
    started.start()
    try:
        yield started
    finally:
        started.stop()


@dataclass
class Started:
    """A server that we hold by its input, a pipe: when that ends, by our hand or our death, the server stops."""

    program: Program
    logs: Path | None
    process: subprocess.Popen | None = None
    told: int = 0  # how many orders
    ahead: float = 0.0  # seconds by which its clock has been turned

    def start(self) -> None:
        program = self.program
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(log_file(program, self.logs).open("ab")) if self.logs else None
            known = {STOP_AT_END_OF_INPUT: "1", PROGRAM_NAME: program.name} | program.environment
            if self.logs:
                known[AUDIT_LOG] = str(audit_file(program, self.logs))
                if tracing.wanted():
                    known[tracing.EVENTS] = str(events_file(program, self.logs))
            self.told = 0
            self.process = subprocess.Popen(
                [sys.executable, "-m", *filter(None, (program.under, program.module))],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                env=os.environ | known,
                **OUT_OF_REACH_OF_CTRL_C,
            )

    def end_its_input(self) -> None:
        with contextlib.suppress(OSError):  # an order that nobody has read
            self.process.stdin.close()

    def stop(self) -> None:
        self.end_its_input()
        try:
            self.process.wait(FAREWELL)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def tell(self, order: str) -> None:
        """Give an order and wait until it has been followed."""
        try:
            self.process.stdin.write(f"{order}\n".encode())
            self.process.stdin.flush()
        except OSError:
            raise Stop(f"The {self.program.name} is not there any more.") from None
        self.told += 1
        if why := self.wait_until_healthy():
            raise Stop(f"The {self.program.name} could not follow: {why}.")

    def wait_until_healthy(self) -> str:
        """What went wrong with its last order, or nothing."""
        name, port, deadline = self.program.name, self.program.port, time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                said = log_file(self.program, self.logs).read_text(errors="replace").strip() if self.logs else ""
                raise Stop(f"The {name} stopped as soon as it started. {said}".strip())
            with contextlib.suppress(httpx2.TransportError):
                answer = http().get(f"http://localhost:{port}/health").raise_for_status()
                if int(answer.headers.get(OBEYED, 0)) == self.told:
                    return answer.headers.get(FAILED, "")
            time.sleep(0.03)
        raise Stop(f"The {name} did not answer on port {port} within {PATIENCE} seconds.")


@functools.cache
def http() -> httpx2.Client:
    """One for all questions: each new client would read every certificate of this computer."""
    return httpx2.Client(timeout=1)


def stop(name: str) -> bool:
    """End one of our servers now; False, with a word of why, if it is not ours to end."""
    if name not in ours:
        note(f"Left out: ending the {name}, which this program did not start. `python -m steps run` shows it.")
        return False
    ours[name].stop()
    return True


def restart(name: str) -> bool:
    """End one of our servers and start it again: what it remembered is gone."""
    if stopped := stop(name):
        ours[name].start()
        ours[name].wait_until_healthy()
        if ours[name].ahead:
            ours[name].tell(f"ahead {ours[name].ahead}")
    return stopped


def turn_clocks(seconds: float) -> None:
    """All of our servers believe from now on that so much more time has passed."""
    for started in ours.values():
        if started.process.poll() is None:
            started.ahead += seconds
            started.tell(f"ahead {seconds}")


# The terminal sends Ctrl-C to everybody in its group. Only we should get it; we end the servers ourselves.
if sys.platform == "win32":
    OUT_OF_REACH_OF_CTRL_C = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
else:
    OUT_OF_REACH_OF_CTRL_C = {"start_new_session": True}


def log_file(program: Program, logs: Path) -> Path:
    return logs / f"{program.name}.log"


def audit_file(program: Program, logs: Path) -> Path:
    return logs / f"{program.name}.audit.jsonl"


def events_file(program: Program, logs: Path) -> Path:
    return logs / f"{program.name}{tracing.SUFFIX}"


@contextlib.contextmanager
def ended_like_ctrl_c() -> Iterator[None]:
    """Let `kill` end us the way Ctrl-C does, so that the servers are ended in order."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
