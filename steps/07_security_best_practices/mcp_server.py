"""Step 07 · what a patient attacker tries next, and why it does not work.

The MCP server: its tools, and the guard before them. It trusts one authorization server, known by its issuer.
"""

import json
import re
import secrets
from collections.abc import Callable

import httpx2
from mcp.server import MCPServer
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware, get_access_token
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError, ToolError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import sample
from shared.addresses import ISSUER, RESOURCE, UPSTREAM, secret_from_environment
from shared.bodies import BadBody, read_json
from shared.serving import HEALTH, serve

from .bearer import (
    BASIC_SCOPES,
    METADATA_PATH,
    METADATA_URL,
    Refused,
    bad_header,
    refuse,
    who_is_it,
)
from .hardening import Hardened, write_down
from .scopes import (
    ANNOUNCEMENT_RULES,
    BODY_RULES,
    READ_CUSTOMERS,
    REBALANCE,
    SCOPE_RULES,
    SENTIMENT,
    name_in,
    needed,
    scopes_for,
)

# ── what we remember ──────────────────────────────────────────────────────────

CACHEABLE = {"Cache-Control": "public, max-age=3600"}

http = httpx2.AsyncClient()
UPSTREAM_TOKEN = secret_from_environment("UPSTREAM_TOKEN")  # our own: no caller's token goes there
WATCHLISTS_PER_PERSON = 10
watchlists: dict[tuple[str, str], list[str]] = {}  # by person and handle: a handle is a name, not a key

# ── how we say no ─────────────────────────────────────────────────────────────


def too_little(scopes: tuple[str, ...]) -> Refused:
    """OAuth 2.1 §5.3.2. All scopes of the operation at once, so that one more consent is enough."""
    why = "This operation needs more than the token allows"
    about = {"scope": " ".join(scopes), "resource_metadata": METADATA_URL, "error_description": why}
    return Refused(403, error="insufficient_scope", **about)


def contradiction(message: dict) -> Refused:
    error = {"code": -32020, "message": "Mcp-Method or Mcp-Name announces something else than the body"}
    return Refused(400, jsonrpc="2.0", id=message.get("id"), error=error)


# ── rules ─────────────────────────────────────────────────────────────────────


def looks_after(person: str, customer: dict) -> bool:
    return customer["adviser"] == person


RECORD_RULES = (  # upstream lets us see everybody: so it is us who must ask for whom
    looks_after,
)

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


def tool(*scopes: str) -> Callable:
    """A tool and its scopes: nobody can add the one and forget the other."""

    def add(function: Callable) -> Callable:
        needed["tools/call", function.__name__] = scopes
        return mcp.tool()(function)

    return add


@tool(SENTIMENT)
def score_headline(headline: str) -> float:
    """How a headline sounds to the market, from -1 (gloomy) to 1 (cheerful)."""
    return sample.mood(headline)


@tool(REBALANCE)
def rebalance(portfolio: dict[str, float]) -> dict[str, float]:
    """The same money, spread evenly over a portfolio."""
    return sample.evened_out(portfolio)


@mcp.resource("customers://{id}")
async def customer(id: str) -> dict:
    """A customer and the portfolio they hold."""
    if not re.fullmatch(r"[A-Za-z0-9-]{1,40}", id):  # with our token, ".." would lead to another address
        raise ResourceNotFoundError(f"There is no customer {id}")
    try:
        own = {"Authorization": f"Bearer {UPSTREAM_TOKEN}"}
        answer = await http.get(f"{UPSTREAM}/customers/{id}", headers=own)
        found = answer.raise_for_status().json() if answer.status_code != 404 else None
    except (httpx2.HTTPError, ValueError):
        raise ResourceError("The customers cannot be reached now; try again soon") from None
    if not found or not all(rule(get_access_token().subject, found) for rule in RECORD_RULES):
        raise ResourceNotFoundError(f"There is no customer {id}")  # nor do we say whether there is
    return found


@tool()
def whoami() -> str:
    """On whose behalf, and through which client, this request came."""
    token = get_access_token()
    return f"{token.subject}, through client {token.client_id}"


@tool(READ_CUSTOMERS, REBALANCE)
async def rebalance_customer(id: str) -> dict[str, float]:
    """The money of a customer, spread evenly."""
    return sample.evened_out((await customer(id))["portfolio"])


@tool(SENTIMENT)
def keep_watchlist(companies: list[str]) -> str:
    """Keep a list of companies; the answer is the handle under which `watchlist` finds it."""
    person, handle = get_access_token().subject, secrets.token_urlsafe(16)
    if len(kept := [name for name in watchlists if name[0] == person]) >= WATCHLISTS_PER_PERSON:
        del watchlists[kept[0]]
    watchlists[person, handle] = companies
    return handle


@tool(SENTIMENT)
def watchlist(handle: str) -> list[str]:
    """The companies kept under this handle."""
    person = get_access_token().subject
    if (person, handle) not in watchlists:
        raise ToolError("unknown handle")
    return watchlists[person, handle]


# ── the app ───────────────────────────────────────────────────────────────────


async def checked(request: Request) -> Receive:
    """Judge the message, and pass on exactly what was judged: two readers may read the same bytes differently."""
    try:
        message = await read_json(request, "invalid_request")
    except BadBody as no:
        too_odd = Refused(no.status, error=no.error, error_description=no.why)
        raise (bad_header(no.why) if no.status == 400 else too_odd) from None
    write_down(operation=" ".join(filter(None, [str(message.get("method")), name_in(message)]))[:100])
    if not all(rule(message) for rule in BODY_RULES):
        raise bad_header("The token stands in the header, and only there")
    if not all(rule(request, message) for rule in ANNOUNCEMENT_RULES):
        raise contradiction(message)
    if not all(rule(message, request.user.scopes) for rule in SCOPE_RULES):
        raise too_little(scopes_for(message))
    judged = [{"type": "http.request", "body": json.dumps(message).encode()}]

    async def receive() -> Message:
        return judged.pop() if judged else await request.receive()

    return receive


class Guard:
    """Stands before the MCP app. Nobody gets past it without being somebody who may do this."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            scope["user"] = await who_is_it(Request(scope))
            if scope["method"] == "POST":
                receive = await checked(Request(scope, receive))
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
    middleware=[Middleware(Hardened, own=RESOURCE.removesuffix("/mcp"))],
    lifespan=lambda _: mcp.session_manager.run(),
)
app.router.redirect_slashes = False  # /mcp/ is another address

if __name__ == "__main__":
    serve(app, RESOURCE)
