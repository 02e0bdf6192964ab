"""An audit trail: one JSON object per line. Written by a thread of its own, so that nobody waits for a disk."""

import atexit
import json
import logging
import os
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
log = logging.getLogger(__name__)


def write_down(**about: object) -> None:
    """Say more in the line about this request: names, decisions, reasons. Never a secret."""
    if (known := record.get(None)) is not None:
        known.update(about)


class Trail:
    """`line` may be called from anywhere and returns at once. Whoever stops a program calls `close`.

    Without a `path` it goes to standard error. `as_json` makes one line, in ASCII, of an object. Raises `Stop` if the
    file cannot be written. If that happens later, lines wait, and those that find no room are counted.
    """

    def __init__(self, path: Path | None = None, as_json: Callable[[dict], str] = json.dumps):
        self.path, self.as_json = path, as_json
        try:
            self.put("")
        except OSError as error:
            raise Stop(f"The audit trail {path} cannot be written: {error.strerror}.") from None
        self.waiting: deque[str] = deque()
        self.lost = 0
        self.ended = threading.Event()
        self.writer: threading.Thread | None = None

    def line(self, about: dict) -> None:
        """Every line has its `time`, in seconds since 1970."""
        if len(self.waiting) >= MOST_WAITING:
            self.lost += 1  # to stand still until somebody has made room would help nobody
            return
        self.waiting.append(self.as_json({"time": time.time(), **about}))
        if self.writer is None:
            self.begin()

    def begin(self) -> None:
        self.ended.clear()
        self.writer = threading.Thread(target=self.write, name="audit", daemon=True)
        self.writer.start()
        atexit.register(self.close)

    def write(self) -> None:
        """What has come together, a few times a second: to be woken up for each line would cost more than the line."""
        over, trouble = False, None
        while not over:
            over = self.ended.wait(EVERY)
            rows = [self.waiting.popleft() for _ in range(len(self.waiting))]
            try:
                if rows:
                    self.put("\n" * bool(trouble) + "\n".join(rows) + "\n")  # trouble may have left half a line
                    trouble = None
            except (OSError, ValueError) as error:  # a full disk, or a reader who has gone
                self.waiting.extendleft(reversed(rows))
                if trouble is None:
                    log.error("the audit trail cannot be written: %s", error)
                trouble = error
            if self.lost and not trouble:
                lost, self.lost = self.lost, 0
                self.line({"what": "audit trail", "lost": lost})

    def put(self, text: str) -> None:
        """Opened each time, so that whoever moves the file away gets a new one. Its owner alone may read it."""
        if self.path is None:
            print(text, end="", file=sys.stderr, flush=True)
        else:
            with open(self.path, "a", encoding="utf-8", opener=lambda path, how: os.open(path, how, 0o600)) as file:
                file.write(text)

    def close(self) -> None:
        """Write what is left."""
        if self.writer:
            self.ended.set()
            self.writer.join(timeout=5)
            self.writer = None
            atexit.unregister(self.close)
