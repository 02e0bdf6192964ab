"""API keys, for the time until everybody has moved to OAuth. They are no part of it: no key ends by itself."""

import hashlib
import logging
import re
import secrets
import time
from pathlib import Path

from mcp.server.auth.provider import AccessToken

from shared.stop import Stop

from .tokens import Known

PREFIX = "mcpk_"  # so that scanners find keys that were published by accident
LOOK_AGAIN = 1  # seconds until a change of the file counts
NAME, HASH = re.compile(r"[\w.@-]{1,100}"), re.compile(r"[0-9a-f]{64}")
log = logging.getLogger("mcp_server")


class ApiKeys:
    """The keys in one file, by hash. A line is the name, the hash, and the scopes, with spaces between."""

    def __init__(self, path: Path):
        self.path = path
        self.known: dict[str, Known] = {}
        self.look_again_at = 0.0

    def read(self) -> dict[str, Known]:
        """Who has which key, by its hash. Raises Stop if there is a file and it makes no sense."""
        try:
            text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
            lines = [line.split() for line in text.splitlines() if line.strip()]
            if not all(NAME.fullmatch(name) and HASH.fullmatch(digest) for name, digest, *_ in lines):
                raise ValueError
        except (OSError, ValueError):
            raise Stop(f"{self.path} cannot be read as a file of API keys: a line is NAME HASH SCOPE ….") from None
        return {digest: holder(name, scopes) for name, digest, *scopes in lines}

    def add(self, name: str, scopes: list[str]) -> str:
        """Make a key and return it: it is shown this once. Raises Stop if it cannot have this name, or be kept."""
        if not NAME.fullmatch(name) or name in [known.about["key"] for known in self.read().values()]:
            raise Stop(f"{name} is taken, or no name: choose one of letters, digits and . _ @ -")
        key = PREFIX + secrets.token_urlsafe(32)
        try:
            with self.path.open("a+", encoding="utf-8") as file:
                file.seek(0)
                unended = file.read()[-1:] not in ("", "\n")  # an editor may have left out the last line's end
                file.write("\n" * unended + " ".join([name, hashed(key.encode()), *scopes]) + "\n")
        except OSError as error:
            raise Stop(f"{self.path} cannot be written: {error.strerror}.") from None
        return key

    def who(self, raw: bytes) -> Known | None:
        """Whose key this is; None if it is nobody's."""
        if time.monotonic() >= self.look_again_at:
            self.look_again_at = time.monotonic() + LOOK_AGAIN
            try:
                self.known = self.read()
            except Stop as error:  # a file that has become unreadable changes nothing, and the log says it
                log.warning("%s", error)
        return self.known.get(hashed(raw))


def hashed(key: bytes) -> str:
    """As the file has it. A key is 256 random bits: nobody guesses it from a fast hash."""
    return hashlib.sha256(key).hexdigest()


def holder(name: str, scopes: list[str]) -> Known:
    client = f"api-key:{name}"
    return Known(AccessToken(token="", client_id=client, subject=client, scopes=scopes), key=name)
