"""Step 07 · what a patient attacker tries next, and why it does not work.

An API behind the MCP server: it keeps the customers. It knows one caller, the MCP server, by its own token.
"""

import hmac

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shared import sample
from shared.addresses import UPSTREAM, secret_from_environment
from shared.serving import HEALTH, serve

# ── what we remember ──────────────────────────────────────────────────────────

UPSTREAM_TOKEN = secret_from_environment("UPSTREAM_TOKEN")

# ── endpoints ─────────────────────────────────────────────────────────────────


async def customer(request: Request) -> Response:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(token.encode(), UPSTREAM_TOKEN.encode()):
        return Response(status_code=401, headers={"WWW-Authenticate": 'Bearer realm="customers"'})
    found = sample.CUSTOMERS.get(request.path_params["id"])
    return JSONResponse(found) if found else JSONResponse({"error": "not found"}, 404)


# ── the app ───────────────────────────────────────────────────────────────────

app = Starlette(
    routes=[
        HEALTH,
        Route("/customers/{id}", customer),
    ],
)

if __name__ == "__main__":
    serve(app, UPSTREAM)
