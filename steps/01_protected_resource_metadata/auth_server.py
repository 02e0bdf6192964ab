"""Step 01 · a locked door that says where the key is.

The authorization server: it knows clients, asks people and makes tokens; it never sees an MCP request.
"""

from starlette.applications import Starlette

from shared.addresses import ISSUER
from shared.serving import HEALTH, serve

# ── the app ───────────────────────────────────────────────────────────────────

app = Starlette(
    routes=[
        HEALTH,
    ],
)

if __name__ == "__main__":
    serve(app, ISSUER)
