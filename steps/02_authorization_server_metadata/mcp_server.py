"""Step 01 · a locked door that says where the key is.

The MCP server: its tools, and the guard before them. It trusts one authorization server, known by its issuer.
"""

from mcp.server import MCPServer
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.mcpserver.exceptions import ResourceNotFoundError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from shared import sample
from shared.addresses import ISSUER, RESOURCE
from shared.serving import HEALTH, serve

from .bearer import (
    BASIC_SCOPES,
    METADATA_PATH,
    Refused,
    refuse,
    who_is_it,
)

# ── what we remember ──────────────────────────────────────────────────────────

CACHEABLE = {"Cache-Control": "public, max-age=3600"}

# ── endpoints ─────────────────────────────────────────────────────────────────


async def resource_metadata(_: Request) -> Response:
    """RFC 9728 §2: which server this is, and who makes tokens for it."""
    document = {
        "resource": RESOURCE,
        "authorization_servers": [ISSUER],
        "scopes_supported": BASIC_SCOPES,
        "bearer_methods_supported": ["header"],
        "resource_name": "market mood",
    }
    return JSONResponse(document, headers=CACHEABLE)


mcp = MCPServer("market mood", log_level="WARNING")


@mcp.tool()
def score_headline(headline: str) -> float:
    """How a headline sounds to the market, from -1 (gloomy) to 1 (cheerful)."""
    return sample.mood(headline)


@mcp.tool()
def rebalance(portfolio: dict[str, float]) -> dict[str, float]:
    """The same money, spread evenly over a portfolio."""
    return sample.evened_out(portfolio)


@mcp.resource("customers://{id}")
def customer(id: str) -> dict:
    """A customer and the portfolio they hold."""
    if id not in sample.CUSTOMERS:
        raise ResourceNotFoundError(f"There is no customer {id}")
    return sample.CUSTOMERS[id]


# ── the app ───────────────────────────────────────────────────────────────────


class Guard:
    """Stands before the MCP app. Nobody gets past it without being somebody."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            scope["user"] = await who_is_it(Request(scope))
        except Refused as no:
            return await refuse(no)(scope, receive, send)
        await self.app(scope, receive, send)


guarded = Guard(AuthContextMiddleware(mcp.streamable_http_app(json_response=True)))

app = Starlette(
    routes=[
        HEALTH,
        Route(METADATA_PATH + "/mcp", resource_metadata),
        Route(METADATA_PATH, resource_metadata),
        Route("/mcp", guarded),
    ],
    lifespan=lambda _: mcp.session_manager.run(),
)
app.router.redirect_slashes = False  # /mcp/ is another address

if __name__ == "__main__":
    serve(app, RESOURCE)
