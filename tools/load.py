"""A load that is lighter than any server: bytes made beforehand, connections that stay, no HTTP library.

A script is one side of a conversation, as a generator: it yields a request and is sent the answer. `Lines.run` runs
one script on each connection, and says how long they took. It only ever speaks to this computer.
"""

import contextlib
import re
import selectors
import socket
import time
from collections.abc import Generator, Iterable, Iterator
from typing import NamedTuple
from urllib.parse import urlencode

from shared.stop import Stop

HERE = "127.0.0.1"
AT_MOST = 60  # seconds that one answer may take
LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
HEAD_LIMIT = 65_536  # bytes


class Answer(NamedTuple):
    """An HTTP response. `head` is everything before the body, as it came."""

    status: int
    head: bytes
    body: bytes

    def header(self, name: str) -> str:
        """The first header of this name, or nothing."""
        found = re.search(rb"\r\n%s: *([^\r]*)" % re.escape(name.encode()), self.head, re.IGNORECASE)
        return found[1].decode("latin-1") if found else ""

    def cookies(self) -> dict[str, str]:
        set_cookies = re.findall(rb"\r\nset-cookie: *([^=]+)=([^;\r]*)", self.head, re.IGNORECASE)
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in set_cookies}


Script = Generator[bytes, Answer, None]


class Wrong(Stop):
    """A server answered something else than it should: the numbers would be about nothing."""


def expect(answer: Answer, status: int, needle: bytes, what: str) -> Answer:
    """Raises Wrong unless the answer has this status, and these bytes in its head or body."""
    if answer.status != status or (needle not in answer.body and needle not in answer.head):
        said = " ".join(answer.body[:200].decode("utf-8", "replace").split())
        raise Wrong(f"{what}: {status} with {needle.decode()!r} was expected, and {answer.status} came: {said}")
    return answer


# ── requests ──────────────────────────────────────────────────────────────────


def request(method: str, path: str, host: str, headers: dict[str, str] | None = None, body: bytes = b"") -> bytes:
    """The bytes of one request. `host` is what the server calls itself, like localhost:9700."""
    length = {"Content-Length": str(len(body))} if body or method == "POST" else {}
    lines = [f"{name}: {value}" for name, value in ({"Host": host} | (headers or {}) | length).items()]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode("latin-1") + body


def form(path: str, host: str, fields: list[tuple[str, str]], headers: dict[str, str] | None = None) -> bytes:
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    return request("POST", path, host, kind | (headers or {}), urlencode(fields).encode())


# ── connections ───────────────────────────────────────────────────────────────


class Line:
    """One connection that stays open, and the script that speaks on it now."""

    def __init__(self, port: int):
        self.socket = socket.create_connection((HERE, port), AT_MOST)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.got = b""
        self.script: Script | None = None

    def begin(self, script: Script) -> bool:
        """Whether it has something to say."""
        self.script, self.got = script, b""
        return self.say(next(script, None))

    def say(self, wanted: bytes | None) -> bool:
        if wanted is None:
            return False
        self.socket.sendall(wanted)
        return True

    def hear(self) -> bool:
        """Read what is there; once it is a whole answer, go on with the script. Whether there is more to come."""
        if not (more := self.socket.recv(65_536)):
            raise Wrong("The server hung up in the middle of a conversation.")
        self.got += more
        if (answer := whole(self.got)) is None:
            return True
        self.got = b""
        try:
            return self.say(self.script.send(answer))
        except StopIteration:
            return False


def whole(got: bytes) -> Answer | None:
    """An answer, once all of it is there. Raises Wrong if it does not say how long it is."""
    end = got.find(b"\r\n\r\n")
    if end < 0:
        if len(got) > HEAD_LIMIT:
            raise Wrong("The head of an answer does not end.")
        return None
    head, status = got[: end + 2], int(got[9:12])
    length = LENGTH.search(head)
    if not length and status not in (204, 304):
        raise Wrong(f"An answer with status {status} does not say how long it is.")
    size = int(length[1]) if length else 0
    return Answer(status, head, got[end + 4 :]) if len(got) >= end + 4 + size else None


class Lines:
    """Connections to one server on this computer."""

    def __init__(self, port: int, count: int):
        self.lines: list[Line] = []
        try:
            for _ in range(count):
                self.lines.append(Line(port))
        except OSError as error:
            self.close()
            raise Wrong(f"Nobody listens on port {port} of this computer: {error.strerror or error}.") from None

    def run(self, scripts: Iterable[Script]) -> float:
        """One script on each connection, all at the same time, to their ends. Returns seconds."""
        began = time.perf_counter()
        busy = [line for line, script in zip(self.lines, scripts, strict=True) if line.begin(script)]
        try:
            if len(self.lines) > 1:
                self.in_turns(busy)
            else:
                for line in busy:  # nothing is lighter than to wait for the one
                    while line.hear():
                        pass
        except OSError as error:
            raise Wrong(f"No answer within {AT_MOST} s, or none at all: {error.strerror or error}.") from None
        return time.perf_counter() - began

    @staticmethod
    def in_turns(busy: list[Line]) -> None:
        left = len(busy)
        with selectors.DefaultSelector() as selector:
            for line in busy:
                selector.register(line.socket, selectors.EVENT_READ, line)
            while left:
                if not (ready := selector.select(AT_MOST)):
                    raise Wrong(f"No answer within {AT_MOST} seconds.")
                for key, _ in ready:
                    if not key.data.hear():
                        selector.unregister(key.fileobj)
                        left -= 1

    def one(self, wanted: bytes) -> Answer:
        """One request on the first connection, for what is not measured."""
        answers: list[Answer] = []
        self.run([heard(wanted, answers), *(silent() for _ in self.lines[1:])])
        return answers[0]

    def close(self) -> None:
        for line in self.lines:
            line.socket.close()


@contextlib.contextmanager
def connected(port: int, count: int) -> Iterator[Lines]:
    lines = Lines(port, count)
    try:
        yield lines
    finally:
        lines.close()


def heard(wanted: bytes, answers: list[Answer]) -> Script:
    answers.append((yield wanted))


def silent() -> Script:
    yield from ()


def repeated(wanted: Iterable[bytes], status: int, needle: bytes, what: str) -> Script:
    """These requests one after another, each answered as it should be."""
    for one in wanted:
        answer = yield one
        if answer.status != status or needle not in answer.body:
            expect(answer, status, needle, what)


def responds(port: int, wanted: bytes) -> bool:
    """Whether somebody answers there already: anything at all."""
    try:
        with socket.create_connection((HERE, port), 1) as connection:
            connection.settimeout(10)
            connection.sendall(wanted)
            return bool(connection.recv(1))
    except OSError:
        return False


__all__ = ["Answer", "Lines", "Script", "Wrong", "connected", "expect", "form", "repeated", "request", "responds"]
