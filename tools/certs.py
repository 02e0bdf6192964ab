"""A certificate authority of one's own, and a certificate for this computer: for TLS in development.

`python -m tools.certs [FOLDER]` (`make certs`). Nobody else trusts it, and nobody should.
"""

import os
import sys
from pathlib import Path

import trustme

FOLDER = Path("data/certs")
NAMES = ("localhost", "127.0.0.1", "::1")
CA, CERTIFICATE, KEY = "ca.pem", "localhost.pem", "localhost.key"


def make(folder: Path) -> None:
    """Three files: the authority's certificate, ours, and our key, which only its owner can read.

    What is there already is replaced. The authority's own key is forgotten, so that it signs nothing else.
    """
    authority = trustme.CA(organization_name="a test on this computer")
    ours = authority.issue_cert(*NAMES)
    folder.mkdir(parents=True, exist_ok=True)
    authority.cert_pem.write_to_path(folder / CA)
    (folder / CERTIFICATE).write_bytes(b"".join(pem.bytes() for pem in ours.cert_chain_pems))
    (folder / KEY).unlink(missing_ok=True)
    with os.fdopen(os.open(folder / KEY, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(ours.private_key_pem.bytes())


def main(arguments: list[str]) -> None:
    folder = Path(arguments[0]) if arguments else FOLDER
    try:
        make(folder)
    except OSError as error:
        sys.exit(f"{folder} cannot be written: {error.strerror}.")
    print(f"AS_CERTIFICATE={folder / CERTIFICATE} AS_KEY={folder / KEY}   for the servers")
    print(f"SSL_CERT_FILE={folder / CA}   for whoever talks to them")


if __name__ == "__main__":
    main(sys.argv[1:])
