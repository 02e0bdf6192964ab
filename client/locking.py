"""One at a time, across processes: a lock that ends with whoever holds it, also if they crash."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import anyio

from shared.stop import Stop

if os.name == "nt":
    import msvcrt

    def _lock(file: IO[bytes]) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


PATIENCE = 40  # seconds; whoever holds a lock waits for one server at most
A_MOMENT = 0.02  # seconds


def take(path: Path) -> IO[bytes] | None:
    """The open lock file, ours until it is closed; `None` if somebody else has it. Raises `Stop` if none can be."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
    except OSError as error:
        raise Stop(f"Nothing can be kept in {path.parent}: {error.strerror}.") from None
    try:
        _lock(file)
    except OSError:
        file.close()
        return None
    return file


def attempts(path: Path) -> Iterator[IO[bytes] | None]:
    """`take` again and again. Raises `Stop` after `PATIENCE`."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        yield take(path)
    raise Stop(f"Another run of this client does not let go of {path}. End it, and try again.")


def exclusive(path: Path) -> IO[bytes]:
    """The lock for the short time of a read or a write, to be closed. Raises `Stop` after `PATIENCE`."""
    for file in attempts(path):
        if file:
            break
        time.sleep(A_MOMENT)
    return file


class Turn:
    """Whose turn it is to refresh: one caller, of all tasks and processes that use the same tokens.

    A refresh token works once. Two who send it at the same time look like a thief and a victim, and lose it both.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: IO[bytes] | None = None

    async def take(self) -> None:
        """Wait until it is our turn; at once if it is already. Raises `Stop` after `PATIENCE`."""
        tries = attempts(self.path)
        while not self.file:
            self.file = next(tries)
            await anyio.sleep(0 if self.file else A_MOMENT)

    def give_back(self) -> None:
        if self.file:
            self.file.close()
            self.file = None
