"""Passwords: kept as argon2id hashes, made and checked in a thread, a few at a time."""

import secrets
import unicodedata

import anyio
import anyio.to_thread
import argon2

from .context import OAuthError
from .directory import Directory

AT_ONCE = 2  # hashes being computed: each takes a core for a while, and MEMORY
MOST_WAITING = 50  # people, before we ask the next one to come again
MEMORY = 19 * 1024  # KiB; with two passes what OWASP recommends, some 30 ms
SHORTEST, LONGEST = 8, 200  # characters; NIST SP 800-63B §3.1.1.2


def as_name(typed: str) -> str:
    """The same whichever way a keyboard puts accents on letters (RFC 8265 §3.4); empty if nobody can be called that."""
    name = unicodedata.normalize("NFC", typed)
    return name if name.isprintable() and name == name.strip() and len(name) <= LONGEST else ""


def as_password(typed: str) -> str:
    return unicodedata.normalize("NFKC", typed)  # NIST SP 800-63B §3.1.1.2


class Accounts:
    """Who may sign in."""

    def __init__(self, directory: Directory):
        self.directory = directory
        self.hasher = argon2.PasswordHasher(time_cost=2, memory_cost=MEMORY, parallelism=1)
        self.hash = self.hasher.hash
        self.limiter = anyio.CapacityLimiter(AT_ONCE)
        self.nobody = ""  # the hash of a password that nobody knows, made with the first check

    async def check(self, username: str, password: str) -> bool:
        """Whether this is their password, computed in a thread. It takes as long for a name that nobody has.

        Raises `OAuthError` (503) if too many others wait already.
        """
        if self.limiter.statistics().tasks_waiting >= MOST_WAITING:
            raise OAuthError("temporarily_unavailable", "Too many people sign in at once. Try again.", 503, 2)
        known = await self.directory.ask(self.directory.password_hash, as_name(username))
        password = as_password(password)[: LONGEST + 1]
        return await anyio.to_thread.run_sync(self.verify, known, password, limiter=self.limiter)

    def verify(self, known: str | None, password: str) -> bool:
        self.nobody = self.nobody or self.hash(secrets.token_urlsafe(16))
        try:
            self.hasher.verify(known or self.nobody, password)
        except argon2.exceptions.VerificationError:
            return False
        return known is not None
