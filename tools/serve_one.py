"""One server for a measurement: `python -m tools.serve_one NAME PORT`, until its input ends.

The MCP servers are all the same one; what differs is who stands before it. Each imports only what it needs.
"""

import os
import sys
import threading
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

SCOPE = "mcp:tools:sentiment"


def add(a: int, b: int) -> int:
    """The sum of two numbers."""
    return a + b


# ── MCP servers ───────────────────────────────────────────────────────────────


def unprotected() -> ASGIApp:
    """The server as it is without authorization."""
    from mcp.server import MCPServer

    mcp = MCPServer("sums", log_level="WARNING")
    mcp.tool()(add)
    return mcp.streamable_http_app(json_response=True)


def protected() -> ASGIApp:
    """The same, behind ours. Settings from the environment."""
    from mcp.server import MCPServer

    from mcp_server.oauth import Protected, Settings

    mcp = MCPServer("sums", log_level="WARNING")
    guarded = Protected(mcp, Settings.from_environment(os.environ))
    guarded.tool(SCOPE)(add)
    return guarded.app(json_response=True)


def sdk_verifier() -> ASGIApp:
    """The same behind the SDK's own middleware."""
    from tools.rivals import server_with_verifier

    mcp = server_with_verifier(os.environ["OAUTH_ISSUER"], os.environ["OAUTH_AUDIENCE"], os.environ["KEYS"], SCOPE)
    mcp.tool()(add)
    return mcp.streamable_http_app(json_response=True)


def market() -> ASGIApp:
    """The tools and resources of `python -m mcp_server`, on a server that asks nobody who they are."""
    from mcp.server import MCPServer

    from shared import sample

    mcp = MCPServer("market mood", log_level="WARNING")
    kept: dict[str, list[str]] = {}

    @mcp.tool()
    def score_headline(headline: str) -> float:
        return sample.mood(headline)

    @mcp.tool()
    def rebalance(portfolio: dict[str, float]) -> dict[str, float]:
        return sample.evened_out(portfolio)

    @mcp.tool()
    def whoami() -> str:
        return "nobody"

    @mcp.resource("customers://{id}")
    async def customer(id: str) -> dict:
        return sample.CUSTOMERS[id]

    @mcp.tool()
    async def rebalance_customer(id: str) -> dict[str, float]:
        return sample.evened_out(sample.CUSTOMERS[id]["portfolio"])

    @mcp.tool()
    def keep_watchlist(companies: list[str]) -> str:
        kept[str(len(kept))] = companies
        return str(len(kept) - 1)

    @mcp.tool()
    def watchlist(handle: str) -> list[str]:
        return kept[handle]

    return mcp.streamable_http_app(json_response=True)


# ── authorization servers ─────────────────────────────────────────────────────


def auth_server() -> ASGIApp:
    """Ours, as its settings in the environment make it. With WHERE set, /where says what takes how long."""
    from auth_server.app import create_app
    from auth_server.settings import Settings

    if not os.environ.get("WHERE"):
        return create_app(Settings.load(os.environ))
    from tools.where import watched

    return watched(lambda: create_app(Settings.load(os.environ)))


def sdk_auth_server() -> ASGIApp:
    """The SDK's routes with a provider in memory."""
    from tools.rivals import auth_app

    return auth_app(os.environ["ISSUER"], os.environ["RESOURCE"])


APPS: dict[str, Callable[[], ASGIApp]] = {
    app.__name__: app for app in (unprotected, protected, sdk_verifier, market, auth_server, sdk_auth_server)
}

# ── served ────────────────────────────────────────────────────────────────────


def serve(app: ASGIApp, port: int) -> None:
    """The same uvicorn for everybody: asyncio and h11, unless the run is a fast one. Until our input ends."""
    fast = bool(os.environ.get("BENCHMARK_FAST"))
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        loop="uvloop" if fast else "asyncio",
        http="httptools" if fast else "h11",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=600,  # a connection waits while the others have their turn
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    threading.Thread(target=until_the_end, args=(server,), daemon=True).start()
    server.run()


def until_the_end(server: uvicorn.Server) -> None:
    while os.read(0, 1024):
        pass
    server.should_exit = True


if __name__ == "__main__":
    name, port = sys.argv[1:]
    serve(APPS[name](), int(port))
