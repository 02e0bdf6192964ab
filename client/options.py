"""What the user said, checked before anybody is asked anything."""

from dataclasses import dataclass
from pathlib import Path

from mcp.client.auth.utils import is_valid_client_metadata_url
from mcp.shared.auth_utils import resource_url_from_server_url

from shared.stop import Stop

from . import rules


@dataclass
class Options:
    """`server` is the address of the MCP endpoint; `scope` is space-separated. `issuer` is whom the credentials belong
    to, character by character as in its metadata. `private_key` is a file in PEM: RSA, or EC on P-256.

    Raises `Stop` for an address that may not be asked, for half of the credentials, and for some without an owner.
    """

    server: str
    client_id: str | None = None
    client_secret: str | None = None
    client_metadata_url: str | None = None
    issuer: str | None = None
    scope: str | None = None
    is_machine: bool = False
    private_key: Path | None = None
    no_browser: bool = False
    callback_port: int = 0

    def __post_init__(self) -> None:
        rules.check_address(self.server, self.server)
        self.server = resource_url_from_server_url(self.server)  # host in lower case: RFC 8707 §2, MCP
        secret, key, owned = self.client_secret, self.private_key, self.client_id and self.issuer
        if self.is_machine and not (owned and bool(secret) != bool(key)):
            raise Stop("--machine needs --client-id, --issuer, and either --client-secret or --private-key.")
        if key and not self.is_machine:
            raise Stop("--private-key is for --machine.")
        if secret and not owned:
            raise Stop("--client-secret needs --client-id and --issuer: it is shown to nobody else.")
        if self.client_metadata_url and not is_valid_client_metadata_url(self.client_metadata_url):
            raise Stop("--client-metadata-url is an https URL with a path.")
