"""What a browser says about a page that fetches something of another website. Here: Chromium."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.routing import Route

from exhibits.browser_stage import CONSOLE, fetched
from exhibits.core import CHROMIUM, group
from exhibits.stage import free_port, served, servers

exhibit = group("Browsers: a client in a web page")


@exhibit(
    "cors-no-header",
    "blocked by CORS policy: No 'Access-Control-Allow-Origin' header is present on the requested resource.",
    seen=CONSOLE + " The Inspector shows it when it connects directly.",
    cause="A page of one origin fetched something of another, which did not allow it. The server answered, often "
    "with 200; the browser keeps the answer from the page, and programs outside of browsers never see this. The "
    "servers of the steps send no CORS headers: their client is no web page.",
    cure="If web pages are to be clients, let both servers allow their origin on metadata, registration, token "
    "endpoint and `/mcp`, and expose `WWW-Authenticate`.",
    step="07",
    needs=CHROMIUM,
    slow=True,
)
def cors_no_header() -> str:
    with servers() as world, served(world.auth_server.app) as origin:
        return fetched(f"{origin}/.well-known/oauth-authorization-server")


@exhibit(
    "cors-preflight",
    "has been blocked by CORS policy: Response to preflight request doesn't pass access control check",
    seen=CONSOLE,
    cause="Before a POST with JSON or with `Authorization` the browser asks with OPTIONS. This preflight never "
    "carries a token, so a guard that answers it with 401 or 403, as the MCP server here does, stops every web "
    "page.",
    cure="If web pages are to be clients, put the CORS middleware outside of the guard: it answers OPTIONS itself.",
    step="07",
    needs=CHROMIUM,
    slow=True,
)
def cors_preflight() -> str:
    with servers() as world, served(world.mcp_server.app) as origin:
        return fetched(f"{origin}/mcp", method="POST", headers={"Content-Type": "application/json"}, body="{}")


@exhibit(
    "cors-preflight-status",
    "Response to preflight request doesn't pass access control check: It does not have HTTP ok status.",
    seen=CONSOLE,
    cause="The server allows the origin, and answered the preflight with an error: 401 from a guard, 404 or 405 "
    "from a router that knows no OPTIONS, or 400 from Starlette's `CORSMiddleware` when the page wants to send a "
    "header that is not in `allow_headers`.",
    cure="Put the CORS middleware outermost and list the headers: `Authorization`, `Content-Type`, "
    "`MCP-Protocol-Version`, `Mcp-Method`, `Mcp-Name`, and `Mcp-Session-Id` for older revisions.",
    step="07",
    needs=CHROMIUM,
    slow=True,
)
def cors_preflight_status() -> str:
    app = Starlette(middleware=[Middleware(CORSMiddleware, allow_origins=["*"])])
    with served(app) as origin:
        return fetched(f"{origin}/mcp", headers={"Authorization": "Bearer a-token"})


@exhibit(
    "cors-header",
    "Request header field authorization is not allowed by Access-Control-Allow-Headers in preflight response.",
    seen=CONSOLE,
    cause="The server allows the origin, and not this header. In the Fetch standard `*` in "
    "`Access-Control-Allow-Headers` does not cover `Authorization`.",
    cure="Name the header in `Access-Control-Allow-Headers`.",
    step="07",
    needs=CHROMIUM,
    slow=True,
)
def cors_header() -> str:
    allowed = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "mcp-protocol-version"}
    app = Starlette(routes=[Route("/mcp", lambda _: Response(headers=allowed), methods=["OPTIONS"])])
    with served(app) as origin:
        return fetched(f"{origin}/mcp", headers={"Authorization": "Bearer a-token"})


@exhibit(
    "failed-to-fetch",
    "TypeError: Failed to fetch",
    seen=CONSOLE + " It is all that the page itself learns.",
    cause="The browser did not get an answer that it may show: nobody listens, the certificate is bad, or CORS "
    "forbids it. The page is not told which.",
    cure="Read the line above it in the console, and ask for the same address with curl.",
    step="07",
    needs=CHROMIUM,
    slow=True,
)
def failed_to_fetch() -> str:
    return fetched(f"http://localhost:{free_port()}/mcp")
