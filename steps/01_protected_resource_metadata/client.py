"""Step 01 · a locked door that says where the key is.

The client: it knows the address of one MCP server and finds out everything else by asking.
"""

import httpx2

from shared.addresses import RESOURCE
from shared.console import learned, run, say, show

from .discovery import (
    HEADERS,
    find_resource,
)

# ── the walk ──────────────────────────────────────────────────────────────────


def main() -> None:
    with httpx2.Client(timeout=10) as http:
        metadata, challenge = find_resource(http, RESOURCE)
        issuer = metadata["authorization_servers"][0]
        say("Ask the authorization server what it can do", "It is there, and has nothing to say yet.")
        show(http.get(f"{issuer}/.well-known/oauth-authorization-server", headers=HEADERS))
    learned(
        f"{RESOURCE} lets nobody in without a token",
        f"tokens for it are made by {issuer}",
        f"to begin with, ask for: {challenge.get('scope')}",
    )


if __name__ == "__main__":
    run(main)
