"""What the endpoints share: made once by `app.create_app`, found in every request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import Request

from shared.audit import Trail
from shared.limits import Window

from .database import Database
from .directory import Directory
from .errors import OAuthError
from .settings import Settings
from .storage import Store

if TYPE_CHECKING:
    from .accounts import Accounts
    from .client_documents import Documents
    from .keys import Keys
    from .metrics import Metrics


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
