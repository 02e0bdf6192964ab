"""The course as a stranger runs it: real processes, on ports of their own."""

import atexit
import contextlib
import functools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.serving import PortTaken, loopback_sockets
from tools import cli
from tools.environment import ROOT

PORTS = {"AS_PORT": 9000, "MCP_PORT": 8000, "NEIGHBOUR_PORT": 8001, "UPSTREAM_PORT": 8002}


@functools.cache
def free_ports() -> dict[str, str]:
    """Four ports that nobody uses, below those that outgoing connections take; every test worker has its own."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    candidates = iter(range(21_000 + 1000 * worker + os.getpid() % 900, 22_000 + 1000 * worker))
    return {name: str(next(port for port in candidates if is_free(port))) for name in PORTS}


@functools.cache
def elsewhere() -> str:
    folder = tempfile.mkdtemp(prefix="workshop-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def is_free(port: int) -> bool:
    try:
        for listener in loopback_sockets(port):
            listener.close()
    except PortTaken:
        return False
    return True


def environment(**more: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "PYTEST"))}
    return inherited | {"HEADLESS": "1", "COLUMNS": "80", "PYTHON": sys.executable} | free_ports() | more


@dataclass
class Ran:
    code: int
    out: str
    err: str


def run(*words: str, cwd: Path = ROOT, timeout: float = 240, **more: str) -> Ran:
    """Run `python -m steps …` to its end. The ports in what it said are the usual ones again.

    In our own folder it leaves its traces elsewhere: those in `out` are what `walked` left there.
    """
    more = {"OUT": elsewhere() if cwd == ROOT else ""} | more
    return finished([sys.executable, "-m", "steps", *words], cwd, timeout, **more)


def finished(command: list[str], cwd: Path, timeout: float, **more: str) -> Ran:
    done = subprocess.run(
        command, cwd=cwd, env=environment(**more), capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL
    )
    out, err = (said.decode("utf-8", errors="replace") for said in (done.stdout, done.stderr))
    return Ran(done.returncode, usual_ports(out), usual_ports(err))


def here(capsys: pytest.CaptureFixture, *words: str) -> Ran:
    """The same command in this process: where it matters what it says, and not that it is a process."""
    capsys.readouterr()
    try:
        code = cli.main(list(words)) or 0
    except SystemExit as ended:
        code = ended.code
    said = capsys.readouterr()
    return Ran(code, said.out, said.err)


@functools.cache
def walked(number: str) -> Ran:
    """One run of a step, by make, shared by all tests that only read what it said."""
    return finished(["make", f"step-{number}"], ROOT, 240, MAKEFLAGS="--no-print-directory")


@functools.cache
def run_oddly() -> Ran:
    """One run of step 01 for all who only read what it said: not by make, on an old console, in no hurry, untraced."""
    return run("run", "01", PYTHONIOENCODING="cp1252", PYTHONUTF8="0", PAUSE="1", TRACE="0", OUT=f"{elsewhere()}/odd")


@functools.cache
def revealed() -> tuple[Ran, Path]:
    """One run of step 05 that hides no secret, and where it left its traces and logs."""
    ran = run("run", "05", REVEAL="1", OUT=f"{elsewhere()}/revealed")
    return ran, Path(elsewhere()) / "revealed" / "step-05"


def logs_in(folder: Path) -> dict[str, str]:
    """What the servers logged; the traces beside it show everything if they are told to."""
    paths = (path for path in folder.iterdir() if not path.name.startswith("trace."))
    return {path.name: path.read_text(encoding="utf-8") for path in paths}


def usual_ports(text: str) -> str:
    for name, port in free_ports().items():
        text = text.replace(f":{port}", f":{PORTS[name]}").replace(f"%3A{port}", f"%3A{PORTS[name]}")
    return text


@contextlib.contextmanager
def started(*words: str, cwd: Path = ROOT, **more: str) -> Iterator[subprocess.Popen]:
    """Start `python -m steps …` and make sure that it is gone afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-m", "steps", *words],
        cwd=cwd,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def listening() -> list[str]:
    """Which of our ports still have a listener."""
    found = []
    for name, port in free_ports().items():
        for host in ("127.0.0.1", "::1"):
            with contextlib.suppress(OSError):
                socket.create_connection((host, int(port)), timeout=1).close()
                found.append(f"{name} {host}")
    return found


def until(condition: object, seconds: float = 60) -> bool:
    """Whether it comes true. The patience is for a busy machine: where all is well it takes far less."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def orphans() -> list[str]:
    """Server processes of a step that serve our ports and whose starter is gone."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            environ = (process / "environ").read_bytes().decode(errors="replace")
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if f"AS_PORT={free_ports()['AS_PORT']}" in environ and re.search(r"-m steps\.\d", command):
                found.append(command)
    return found
