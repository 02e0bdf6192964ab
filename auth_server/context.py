"""What the endpoints share: the server that they belong to, what an operator watches of it, and how they say no."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter
from starlette.requests import Request

from shared.audit import Trail
from shared.limits import Window

from .database import Database
from .directory import Directory
from .settings import Settings
from .storage import Store

if TYPE_CHECKING:
    from .accounts import Accounts
    from .client_documents import Documents
    from .keys import Keys


class OAuthError(Exception):
    """An error a client is meant to read: `error` is for code, `why` for people. RFC 6749 §5.2.

    `status` is the HTTP status. `retry_after`, in seconds, becomes a header if it is not 0.
    """

    def __init__(self, error: str, why: str, status: int = 400, retry_after: int = 0):
        super().__init__(f"{error}: {why}")
        self.error, self.why, self.status, self.retry_after = error, why, status, retry_after


class Stopped(OAuthError):
    """A request that gets no further than `guard`."""


class Metrics:
    """Of one server: two in one process count apart. Every name begins with `auth_server_`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self.counter("requests", "Answers, by endpoint and status", "endpoint", "status")
        self.seconds = self.counter("request_seconds", "From request to answer, all together, by endpoint", "endpoint")
        self.refused = self.counter("refused", "Refusals, by error code", "error")  # ours, never one that somebody sent
        self.tokens = self.counter("tokens", "Access tokens made, by grant type", "grant_type")
        self.purged = Counter("auth_server_purged_rows", "Expired rows that were deleted", registry=self.registry)

    def counter(self, name: str, says: str, *labels: str) -> Callable[..., Counter]:
        """Called with its labels it gives what counts. Remembered, because to find that takes longer than to count."""
        return lru_cache(1000)(Counter(f"auth_server_{name}", says, labels, registry=self.registry).labels)


@dataclass
class AuthServer:
    """One running authorization server. Nothing in it is global: two can live in one process."""

    settings: Settings
    database: Database
    store: Store
    directory: Directory
    keys: Keys
    accounts: Accounts
    documents: Documents
    metrics: Metrics
    trail: Trail
    guesses: Window  # of secrets and passwords, by whose

    def guessed(self, whose: str) -> None:
        """Many may guess, each from an address of its own: not for long. Raises `OAuthError` (429)."""
        if wait := self.guesses.wait(whose):
            raise OAuthError("temporarily_unavailable", "that was too much for one minute", 429, wait)
        self.guesses.count(whose)


def server_of(request: Request) -> AuthServer:
    return request.app.state.server
