"""What is said while something goes wrong: log lines, and the ends of tracebacks."""

import contextlib
import logging
from collections.abc import Iterator


def line_of(error: BaseException) -> str:
    """The last line of a traceback."""
    kind = type(error)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"{module}{kind.__qualname__}: {error}"


class Brief(logging.Formatter):
    """A log line as most programs show it, with the last line of the traceback instead of all of it."""

    def formatException(self, about: tuple) -> str:
        return f"Traceback (most recent call last):\n  …\n{line_of(about[1])}"


@contextlib.contextmanager
def everything_logged() -> Iterator[list[str]]:
    """What all libraries log while the block runs."""
    said: list[str] = []
    listener, root = logging.Handler(), logging.getLogger()
    listener.setFormatter(Brief("%(levelname)s %(name)s: %(message)s"))
    listener.emit = lambda record: said.append(listener.format(record))
    before = root.level, root.handlers
    root.handlers = [listener]
    root.setLevel(logging.WARNING)
    try:
        yield said
    finally:
        root.level, root.handlers = before
