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
    to, character by character as in its metadata. `private_key` is a file in PEM: RSA, or EC on P-256. With
    `nobody_there`, an error says what to do where a person would be asked.

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
    nobody_there: bool = False

    def __post_init__(self) -> None:
        if not self.server.lower().startswith(("http://", "https://")):
            raise Stop(f"--server begins with http:// or https://, and {self.server!r} does not.")
        rules.check_address(self.server, self.server)
        self.server = resource_url_from_server_url(self.server)  # host in lower case: RFC 8707 §2, MCP
        secret, key = self.client_secret, self.private_key
        needed = {"--client-id": self.client_id, "--issuer": self.issuer}  # a secret is shown to nobody else
        if self.is_machine:
            needed["--client-secret or --private-key"] = secret or key
        missing = [name for name, value in needed.items() if not value]
        if missing and (self.is_machine or secret):
            raise Stop(f"{'--machine' if self.is_machine else '--client-secret'} needs {' and '.join(missing)} too.")
        if key and (secret or not self.is_machine):
            raise Stop("--private-key is for --machine, in the place of --client-secret.")
        if self.client_metadata_url and not is_valid_client_metadata_url(self.client_metadata_url):
            raise Stop("--client-metadata-url is an https URL with a path.")
