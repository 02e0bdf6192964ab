"""Step 02 · the authorization server says what it can do, and must not lie about who it is.

The client: it knows the address of one MCP server and finds out everything else by asking.
"""

import httpx2

from shared.addresses import RESOURCE
from shared.console import learned, run

from .discovery import (
    find_resource,
    find_server,
)

# ── the walk ──────────────────────────────────────────────────────────────────


def main() -> None:
    with httpx2.Client(timeout=10) as http:
        metadata, challenge = find_resource(http, RESOURCE)
        issuer = metadata["authorization_servers"][0]
        server = find_server(http, issuer)
    learned(
        f"the user is asked at {server['authorization_endpoint']}",
        f"tokens are made at {server['token_endpoint']}",
        "both answer 501 so far: they are announced, and not built yet",
    )


if __name__ == "__main__":
    run(main)
