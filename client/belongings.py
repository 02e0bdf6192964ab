"""What this client holds for one MCP server, as the SDK's `TokenStorage`, on top of a `Store`."""

import hashlib
import time
from collections.abc import Callable

from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

from .options import Options
from .storage import Store


class Belongings:
    """Registrations by issuer, tokens by issuer and server. `issuer` is whom the server was last seen with; that of a
    machine never changes. A machine is not the person who uses the same computer."""

    def __init__(self, store: Store, options: Options, say: Callable[[str], object] = print) -> None:
        self.store, self.server, self.say = store, options.server, say
        self.who = options.client_id if options.is_machine else ""
        self._server = ("server", self.server, self.who)
        self.issuer: str = options.issuer if self.who else store.read(*self._server).get("issuer", "")
        self.revocation_endpoint: str | None = None
        self.client: dict = {}  # the registration in use
        name = hashlib.sha256(f"{self.server} {self.who}".encode()).hexdigest()[:16]
        self.lock_path = store.folder / f"turn-{name}.lock"  # for all processes that use the same tokens

    @property
    def _tokens(self) -> tuple[str, ...]:
        return ("tokens", self.issuer, self.server, self.who)

    def kept(self) -> dict:
        """The record: `tokens` (the answer of the token endpoint), `expires_at` (seconds since 1970, or None),
        `revocation_endpoint`, `client` (whose they are). Empty if there is none."""
        return self.store.read(*self._tokens)

    async def get_tokens(self) -> OAuthToken | None:
        found = self.kept().get("tokens")
        return OAuthToken.model_validate(found) if found else None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        if not self.kept():
            self.say(f"Tokens and credentials are kept in {self.store.what}.")
        record = {
            "tokens": tokens.model_dump(exclude_none=True),
            "expires_at": None if tokens.expires_in is None else time.time() + tokens.expires_in,
            "revocation_endpoint": self.revocation_endpoint,
            "client": {} if self.who else self.client,
        }
        self.store.write(*self._tokens, value=record)
        self.store.change(*self._server, issuer=self.issuer)

    def forget_tokens(self) -> None:
        self.store.write(*self._tokens, value={})

    def _registration(self) -> dict:
        """That of our tokens, which nobody else can renew; else the last. Another run may have made one since."""
        return self.kept().get("client") or self.store.read("registration", self.issuer)

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        self.client = self._registration()
        return OAuthClientInformationFull.model_validate(self.client) if self.client else None

    async def set_client_info(self, client_info: OAuthClientInformationFull, configured: bool = False) -> None:
        self.client = client_info.model_dump(mode="json", exclude_none=True) | {"configured": configured}
        self.store.write("registration", self.issuer, value=self.client)

    @property
    def configured(self) -> bool:
        """Whether somebody gave us the credentials for `issuer`, so that we cannot just make new ones."""
        return self._registration().get("configured") is True

    def forget_client(self) -> None:
        """The tokens came of the registration, and go with it."""
        self.store.write("registration", self.issuer, value={})
        self.forget_tokens()

    def step_ups(self) -> dict[str, int]:
        """By operation, how many times it has led to a step-up that did not help."""
        return self.store.read(*self._server).get("step_ups", {})

    def count_step_up(self, operation: str, times: int) -> None:
        self.store.change(*self._server, step_ups=self.step_ups() | {operation: times})

    def forget_step_ups(self) -> None:
        self.store.change(*self._server, step_ups={})
