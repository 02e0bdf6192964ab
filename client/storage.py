"""Where secrets are kept between two runs: the system's keyring, else a file that only its owner can read.

Both hold texts by name, and no text is the same as an empty one. What they are is said in `belongings`.
"""

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import click
from filelock import FileLock, Timeout

from shared.stop import Stop

from .wire import json_object

NAME = "mcp-oauth-client"
MOST_IN_ONE_ENTRY = 1000  # characters: Windows takes 2,560 bytes, and two for each character
PATIENCE = 40  # seconds; whoever holds a lock waits for one server at most
A_MOMENT = 0.02  # seconds


@contextlib.contextmanager
def lock_at(path: Path) -> Iterator[FileLock]:
    """A lock, still to be taken, that ends with whoever holds it, also if they crash; for all processes.

    Raises `Stop` for what goes wrong within the block: nobody gives the lock back, or a file cannot be used.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield FileLock(path, timeout=PATIENCE, mode=0o600, poll_interval=A_MOMENT)
    except Timeout:
        raise Stop(f"Another run of this client does not let go of {path}. End it, and try again.") from None
    except OSError as error:
        raise Stop(f"{error.filename or path} cannot be used: {error.strerror}.") from None


async def taken(path: Path) -> FileLock:
    """The same lock when it is ours, without holding up other tasks. Raises `Stop` after `PATIENCE`."""
    deadline = time.monotonic() + PATIENCE
    with lock_at(path) as lock:
        while not lock.is_locked:
            try:
                lock.acquire(timeout=0)
            except Timeout:
                if time.monotonic() > deadline:
                    raise
                await anyio.sleep(A_MOMENT)
        return lock


class File:
    """One JSON object, written beside and put in place: never half written, never readable by others."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.what = f"the file {path}, which only you can read"

    def read(self, name: str) -> str:
        return str(self._everything().get(name, ""))

    def write(self, name: str, text: str) -> None:
        everything = self._everything() | {name: text}
        descriptor, beside = tempfile.mkstemp(dir=self.path.parent)  # its owner's alone, from its first byte
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump({name: text for name, text in everything.items() if text}, file)
        os.replace(beside, self.path)

    def _everything(self) -> dict[str, str]:
        return json_object(self.path.read_bytes()) if self.path.exists() else {}


class Keyring:
    """The keyring of the system. Texts go in pieces, because not every keyring takes long ones whole."""

    def __init__(self, ring: Any) -> None:
        self.ring = ring
        self.what = f"the keyring of this system ({getattr(ring, 'name', type(ring).__name__)})"

    def read(self, name: str) -> str:
        pieces: list[str] = []
        while piece := self._ask("get_password", f"{name}#{len(pieces)}"):
            pieces.append(piece)
        return "".join(pieces)

    def write(self, name: str, text: str) -> None:
        count = 0
        for start in range(0, len(text), MOST_IN_ONE_ENTRY):
            self._ask("set_password", f"{name}#{count}", text[start : start + MOST_IN_ONE_ENTRY])
            count += 1
        while self._ask("get_password", f"{name}#{count}"):  # left from a longer text
            self._ask("delete_password", f"{name}#{count}")
            count += 1

    def _ask(self, what: str, *words: str) -> str | None:
        from keyring.errors import KeyringError

        try:
            return getattr(self.ring, what)(NAME, *words)
        except KeyringError as error:
            why = f"The keyring of this system refuses ({type(error).__name__})."
            raise Stop(f"{why} Unlock it, or set MCP_CLIENT_STORE to a file.") from None


class Store:
    """JSON objects by name, one reader or writer at a time. `folder` holds the lock files and, without a keyring, the
    credentials. Raises `Stop` for what cannot be used; no secret is told in it."""

    def __init__(self, backend: File | Keyring, folder: Path) -> None:
        self.backend, self.folder, self.what = backend, folder, backend.what

    def read(self, *name: str) -> dict:
        """Empty if nothing is kept under this name, or nothing that can be read."""
        with self._alone():
            return json_object(self.backend.read(" ".join(name)))

    def write(self, *name: str, value: dict) -> None:
        """An empty value is kept no longer."""
        with self._alone():
            self.backend.write(" ".join(name), json.dumps(value) if value else "")

    def change(self, *name: str, **members: object) -> None:
        """Set some members of what is kept, and leave the others."""
        with self._alone():
            known = json_object(self.backend.read(" ".join(name)))
            self.backend.write(" ".join(name), json.dumps(known | members))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with lock_at(self.folder / "store.lock") as lock, lock:
            yield


def usable_keyring() -> Any | None:
    """The keyring of this system, or None: a backend that only fails is none."""
    import keyring

    with contextlib.suppress(Exception):  # no bus, no daemon, no library: each backend fails in its own words
        ring = keyring.get_keyring()
        ring.get_password(NAME, "is anybody there")
        return ring if ring.priority > 0 else None
    return None


def open_store() -> Store:
    """What `MCP_CLIENT_STORE` names: a file, or the word `keyring`. Else the keyring, if there is one that works, or
    else the file in the user's own folder. Whoever began with the file stays with it."""
    wanted = os.environ.get("MCP_CLIENT_STORE")
    file = Path(click.get_app_dir(NAME)) / "credentials.json"
    if wanted and wanted != "keyring":
        file = Path(wanted).expanduser().absolute()
    elif (wanted or not file.exists()) and (ring := usable_keyring()):
        return Store(Keyring(ring), file.parent)
    elif wanted:
        raise Stop("MCP_CLIENT_STORE says keyring, and this system has none that works. Name a file instead.")
    return Store(File(file), file.parent)
