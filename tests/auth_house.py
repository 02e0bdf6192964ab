"""The finished authorization server in this process, with the words of an honest client and the keys to every room."""

import httpx2

from attacks.programs import Finished
from shared.addresses import RESOURCE

BOTH = ["authorization_code", "refresh_token"]
CONFIDENTIAL = {"token_endpoint_auth_method": "client_secret_post", "grant_types": BOTH}
WATCHER = ("market", "a secret of the resource server's")  # what the demo's first resource introspects with


class House(Finished):
    """Settings can be named, beside those of `Finished`."""

    @property
    def issuer(self) -> str:
        return self.settings.get("issuer", Finished.issuer)

    def room(self, name: str) -> object:
        return self.loaded.module(f"auth_server.{name}")

    @property
    def server(self) -> object:
        return self.auth_server.server

    @property
    def store(self) -> object:
        return self.server.store

    def from_here(self) -> httpx2.Client:
        return self.browser(("127.0.0.1", 1))

    def let_introspect(self, resource: str = RESOURCE, who: tuple[str, str] = WATCHER) -> None:
        """Give a resource what it shows at /introspect."""
        resource = self.server.directory.resources()[resource]
        about = vars(resource) | {"introspection_id": who[0], "secret_hash": self.room("database").sha256(who[1])}
        self.server.directory.put_resource(type(resource)(**about), self.clock.time())

    def introspect(self, token: str, who: tuple[str, str] = WATCHER) -> httpx2.Response:
        return self.auth.post("/introspect", data={"token": token}, auth=who)

    def is_active(self, token: str, who: tuple[str, str] = WATCHER) -> bool:
        return self.introspect(token, who).raise_for_status().json()["active"]
