"""An audit trail: one JSON object per line. Written by a thread of its own, so that nobody waits for a disk."""

import atexit
import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path

from shared.stop import Stop

record: ContextVar[dict] = ContextVar("record")  # what the line about this request will say besides
MOST_WAITING = 10_000  # lines
EVERY = 0.2  # seconds


def write_down(**about: object) -> None:
    """Say more in the line about this request: names, decisions, reasons. Never a secret."""
    if (known := record.get(None)) is not None:
        known.update(about)


class Trail:
    """`line` may be called from anywhere and returns at once. Whoever stops a program calls `close`.

    Without a `path` it goes to standard error. `as_json` makes one line, in ASCII, of an object. Raises `Stop` if the
    file cannot be written.
    """

    def __init__(self, path: Path | None = None, as_json: Callable[[dict], str] = json.dumps):
        self.path, self.as_json = path, as_json
        try:
            if path:
                path.open("a").close()
        except OSError as error:
            raise Stop(f"The audit trail {path} cannot be written: {error.strerror}.") from None
        self.waiting: deque[str] = deque()
        self.ended = threading.Event()
        self.writer: threading.Thread | None = None

    def line(self, about: dict) -> None:
        """Every line has its `time`, in seconds since 1970."""
        self.waiting.append(self.as_json({"time": time.time(), **about}))
        if self.writer is None:
            self.begin()
        while len(self.waiting) > MOST_WAITING:  # no decision goes unrecorded: then we wait
            time.sleep(0.001)

    def begin(self) -> None:
        self.ended.clear()
        self.writer = threading.Thread(target=self.write, name="audit", daemon=True)
        self.writer.start()
        atexit.register(self.close)

    def write(self) -> None:
        """What has come together, a few times a second: to be woken up for each line would cost more than the line."""
        file = self.path.open("a", encoding="utf-8") if self.path else sys.stderr
        over = False
        while not over:
            over = self.ended.wait(EVERY)
            if rows := [self.waiting.popleft() for _ in range(len(self.waiting))]:
                file.write("\n".join(rows) + "\n")
                file.flush()

    def close(self) -> None:
        """Write what is left."""
        if self.writer:
            self.ended.set()
            self.writer.join(timeout=5)
            self.writer = None
            atexit.unregister(self.close)
