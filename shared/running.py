"""Start the servers of a step as processes of their own, and end every one of them whatever happens."""

import contextlib
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

from shared.serving import PROGRAM_NAME, STOP_AT_END_OF_INPUT, check_free
from shared.stop import Stop

PATIENCE = 30  # seconds until a server must be up
FAREWELL = 3  # seconds until a server must be gone


@dataclass(frozen=True)
class Program:
    """A server: the module to run, the port it will listen on, and what its environment says differently."""

    name: str
    module: str
    port: int
    environment: dict[str, str] = field(default_factory=dict)


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
        processes = [stack.enter_context(process(program, logs)) for program in programs]
        stack.callback(lambda: [started.stdin.close() for started in processes])  # all at once, then wait for each
        meanwhile()
        http = stack.enter_context(httpx2.Client(timeout=1))
        for program, started in zip(programs, processes):
            wait_until_healthy(program, started, logs, http)
        yield


@contextlib.contextmanager
def process(program: Program, logs: Path | None) -> Iterator[subprocess.Popen]:
    """One server. Its input is a pipe that we hold; when it ends, by our hand or our death, the server stops."""
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(log_file(program, logs).open("wb")) if logs else None
        started = subprocess.Popen(
            [sys.executable, "-m", program.module],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            env=os.environ | {STOP_AT_END_OF_INPUT: "1", PROGRAM_NAME: program.name} | program.environment,
            **OUT_OF_REACH_OF_CTRL_C,
        )
        try:
            yield started
        finally:
            started.stdin.close()
            try:
                started.wait(FAREWELL)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()


# The terminal sends Ctrl-C to everybody in its group. Only we should get it; we end the servers ourselves.
if sys.platform == "win32":
    OUT_OF_REACH_OF_CTRL_C = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
else:
    OUT_OF_REACH_OF_CTRL_C = {"start_new_session": True}


def log_file(program: Program, logs: Path) -> Path:
    logs.mkdir(parents=True, exist_ok=True)
    return logs / f"{program.name}.log"


def wait_until_healthy(program: Program, started: subprocess.Popen, logs: Path | None, http: httpx2.Client) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if started.poll() is not None:
            said = log_file(program, logs).read_text(errors="replace").strip() if logs else ""
            raise Stop(f"The {program.name} stopped as soon as it started. {said}".strip())
        with contextlib.suppress(httpx2.TransportError):
            http.get(f"http://localhost:{program.port}/health").raise_for_status()
            return
        time.sleep(0.03)
    raise Stop(f"The {program.name} did not answer on port {program.port} within {PATIENCE} seconds.")


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
