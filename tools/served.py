"""Servers for a measurement: real processes, on a core of their own, gone when we are gone."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tools import load
from tools.environment import ROOT
from tools.load import Wrong

KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "COMSPEC", "PATHEXT", "USERPROFILE")
KEPT += ("APPDATA", "LOCALAPPDATA", "VIRTUAL_ENV")  # whatever else is set here may be a setting of what we measure
PATIENCE = 30  # seconds for a server to come up
GRACE = 5  # seconds for it to go
AUTH_PORTS, MCP_PORTS = range(9700, 9800), range(8700, 8800)
FAST = "BENCHMARK_FAST"
BEGINNING = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def cores() -> tuple[int, int] | None:
    """One for the servers, one for the load. None where nobody can be kept to a core, or there is only one."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], allowed[-1]) if len(allowed) > 1 else None


CORES = cores()


@contextlib.contextmanager
def on_the_servers_core() -> Iterator[None]:
    """A process that is started in here stays on that core."""
    if not CORES:
        yield
        return
    os.sched_setaffinity(0, {CORES[0]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, {CORES[1]})


def stay_on_our_core() -> None:
    if CORES:
        os.sched_setaffinity(0, {CORES[1]})


def free_port(ports: range, taken: set[int]) -> int:
    """One that nobody listens on, and that is not among those given out already. Raises Wrong if there is none."""
    for port in ports:
        if port in taken:
            continue
        with contextlib.suppress(OSError), socket.socket() as probe:
            if os.name == "posix":  # there it does not mean that two may listen, but that old connections do not matter
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((load.HERE, port))
            taken.add(port)
            return port
    raise Wrong(f"All ports from {ports[0]} to {ports[-1]} are taken.")


def environment(**more: str) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in KEPT if name in os.environ}
    return inherited | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0", "NO_COLOR": "1"} | more


@dataclass
class Served:
    """A server that runs. `host` is how it is called: localhost and its port. `seconds` until its first answer."""

    process: subprocess.Popen
    port: int
    seconds: float
    log: Path

    @property
    def host(self) -> str:
        return f"localhost:{self.port}"

    def processor(self) -> float:
        """Seconds of processor time that it has used; 0 where only rough numbers are to be had."""
        try:
            threads = Path(f"/proc/{self.process.pid}/task").iterdir()
            return sum(int((thread / "schedstat").read_bytes().split()[0]) for thread in threads) / 1e9
        except (OSError, ValueError, IndexError):
            return 0.0

    def resident(self) -> float:
        """Megabytes (10^6 bytes) of memory that it has now."""
        return psutil.Process(self.process.pid).memory_info().rss / 1e6


class Servers:
    """All servers of a run; leaving ends them. `folder` is theirs, and is gone then too."""

    def __init__(self, fast: bool = False):
        self.fast, self.taken, self.running = fast, set[int](), list[Served]()

    def __enter__(self) -> "Servers":
        self.temporary = tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True)
        self.folder = Path(self.temporary.name)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for server in list(self.running):
                self.end(server)
        finally:
            self.temporary.cleanup()

    def port(self, ports: range) -> int:
        return free_port(ports, self.taken)

    def subfolder(self, name: str) -> Path:
        found = self.folder / f"{name}-{len(list(self.folder.iterdir()))}"
        found.mkdir()
        return found

    def rival(self, name: str, port: int, **settings: str) -> Served:
        """An app of tools/serve_one.py on plain uvicorn, or on uvloop and httptools if the run is a fast one."""
        settings |= {FAST: "1"} if self.fast else {}
        return self.start(["tools.serve_one", name, str(port)], port, **settings)

    def start(
        self, words: list[str], port: int, asking: bytes = BEGINNING, flags: Iterable[str] = (), **settings: str
    ) -> Served:
        """Run `python -m WORDS`, and return when it has answered for the first time. Raises Wrong if it never does."""
        log = self.folder / f"{words[0]}-{port}.log"
        with log.open("wb") as output, on_the_servers_core():
            began = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, *flags, "-m", *words],
                cwd=self.folder,
                env=environment(**settings),
                stdin=subprocess.PIPE,  # it ends when nobody holds the other side any more
                stdout=output,
                stderr=output,
            )
        server = Served(process, port, 0.0, log)
        self.running.append(server)
        while not load.responds(port, asking):
            if process.poll() is not None or time.perf_counter() > began + PATIENCE:
                raise Wrong(f"`python -m {' '.join(words)}` does not come up. {last_words(log)}")
            time.sleep(0.002)
        server.seconds = time.perf_counter() - began
        return server

    def end(self, server: Served) -> None:
        self.running.remove(server)
        server.process.terminate()
        server.process.stdin.close()
        try:
            server.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()


def last_words(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return f"It said: {said[-1][:300]}" if said else "It said nothing."
