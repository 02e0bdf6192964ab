"""What this client holds for one MCP server, as the SDK's `TokenStorage`, on top of a `Store`."""

import hashlib
import time
from collections.abc import Callable

from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

from .locking import Turn
from .storage import Store


class Belongings:
    """Registrations by issuer, tokens by issuer and server. `issuer` is whom the server was last seen with.

    Implements `mcp.client.auth.TokenStorage`. `who` tells a machine from the person who uses the same computer.
    """

    def __init__(self, store: Store, server: str, who: str = "", say: Callable[[str], object] = print) -> None:
        self.store, self.server, self.who, self.say = store, server, who, say
        self._server = ("server", server, who)
        self.issuer: str = store.read(*self._server).get("issuer", "")
        self.revocation_endpoint: str | None = None
        name = hashlib.sha256(f"{server} {who}".encode()).hexdigest()[:16]
        self.turn = Turn(store.folder / f"turn-{name}.lock")

    @property
    def _tokens(self) -> tuple[str, ...]:
        return ("tokens", self.issuer, self.server, self.who)

    def kept(self) -> dict:
        """The record: `tokens` (the answer of the token endpoint), `expires_at` (seconds since 1970, or None),
        `revocation_endpoint`. Empty if there is none."""
        return self.store.read(*self._tokens)

    async def get_tokens(self) -> OAuthToken | None:
        found = self.kept().get("tokens")
        return OAuthToken.model_validate(found) if found else None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        if not self.kept():
            self.say(f"Tokens and credentials are kept in {self.store.what}.")
        self.store.write(
            *self._tokens,
            value={
                "tokens": tokens.model_dump(exclude_none=True),
                "expires_at": None if tokens.expires_in is None else time.time() + tokens.expires_in,
                "revocation_endpoint": self.revocation_endpoint,
            },
        )
        self.store.change(*self._server, issuer=self.issuer)

    def forget_tokens(self) -> None:
        self.store.delete(*self._tokens)

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        found = self.store.read("registration", self.issuer)
        return OAuthClientInformationFull.model_validate(found) if found else None

    async def set_client_info(self, client_info: OAuthClientInformationFull, configured: bool = False) -> None:
        value = client_info.model_dump(mode="json", exclude_none=True) | {"configured": configured}
        self.store.write("registration", self.issuer, value=value)

    @property
    def configured(self) -> bool:
        """Whether somebody gave us the credentials for `issuer`, so that we cannot just make new ones."""
        return self.store.read("registration", self.issuer).get("configured") is True

    def forget_client(self) -> None:
        """For a registration that the authorization server has forgotten: it goes, with the tokens that came of it."""
        self.store.delete("registration", self.issuer)
        self.forget_tokens()

    def step_ups(self, operation: str) -> int:
        """How many times this operation has led to a step-up that did not help."""
        return self.store.read(*self._server).get("step_ups", {}).get(operation, 0)

    def count_step_up(self, operation: str, times: int) -> None:
        counts = self.store.read(*self._server).get("step_ups", {})
        self.store.change(*self._server, step_ups=counts | {operation: times})

    def forget_step_ups(self) -> None:
        self.store.change(*self._server, step_ups={})
