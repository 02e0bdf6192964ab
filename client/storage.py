"""Where secrets are kept between two runs: the system's keyring, else a file that only its owner can read.

Both hold texts by name, and no text is the same as an empty one. What they are is said in `belongings`.
"""

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import IO, Any

import click

from shared.stop import Stop

from .locking import exclusive
from .wire import json_object

NAME = "mcp-oauth-client"
MOST_IN_ONE_ENTRY = 1000  # characters: Windows takes 2,560 bytes, and two for each character


class File:
    """One JSON object, written beside and put in place: never half written, never readable by others."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.what = f"the file {path}, which only you can read"

    def read(self, name: str) -> str:
        return str(self._everything().get(name, ""))

    def write(self, name: str, text: str) -> None:
        everything = self._everything() | {name: text}
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, beside = tempfile.mkstemp(dir=self.path.parent)  # its owner's alone, from its first byte
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump({name: text for name, text in everything.items() if text}, file)
            os.replace(beside, self.path)
        except OSError as error:
            raise Stop(f"{self.path} cannot be written: {error.strerror}.") from None

    def _everything(self) -> dict[str, str]:
        try:
            return json_object(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise Stop(f"{self.path} cannot be read: {error.strerror}.") from None


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
    """JSON objects by name, one reader or writer at a time.

    `folder` holds the lock files and, without a keyring, the credentials. No method tells a secret in an error.
    """

    def __init__(self, backend: File | Keyring, folder: Path) -> None:
        self.backend, self.folder, self.what = backend, folder, backend.what

    def read(self, *name: str) -> dict:
        """What is kept under this name; empty if nothing is, or nothing that can be read."""
        with self._alone():
            return json_object(self.backend.read(" ".join(name)))

    def write(self, *name: str, value: dict) -> None:
        with self._alone():
            self.backend.write(" ".join(name), json.dumps(value) if value else "")

    def change(self, *name: str, **members: object) -> None:
        """Set some members of what is kept, and leave the others."""
        with self._alone():
            known = json_object(self.backend.read(" ".join(name)))
            self.backend.write(" ".join(name), json.dumps(known | members))

    def delete(self, *name: str) -> None:
        self.write(*name, value={})

    def _alone(self) -> IO[bytes]:
        return exclusive(self.folder / "store.lock")


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
    folder = Path(click.get_app_dir(NAME))
    wanted = os.environ.get("MCP_CLIENT_STORE", "")
    if wanted and wanted != "keyring":
        file = Path(wanted).expanduser().absolute()
        return Store(File(file), file.parent)
    file = folder / "credentials.json"
    if (wanted or not file.exists()) and (ring := usable_keyring()):
        return Store(Keyring(ring), folder)
    if wanted:
        raise Stop("MCP_CLIENT_STORE says keyring, and this system has none that works. Name a file instead.")
    return Store(File(file), folder)
