"""The sample server, "market mood": what its tools do, and which scopes each of them needs."""

import os
import re
import secrets
from dataclasses import replace

import httpx2
from mcp.server import MCPServer
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError, ToolError
from starlette.applications import Starlette

from shared import sample
from shared.addresses import UPSTREAM
from shared.audit import Trail

from .oauth import Protected, Settings

SENTIMENT = "mcp:tools:sentiment"
READ_CUSTOMERS = "mcp:resources:customer-data:read"
REBALANCE = "mcp:exec:workflows:rebalance"
BASIC_SCOPES = (SENTIMENT, READ_CUSTOMERS)
ALL_SCOPES = (*BASIC_SCOPES, REBALANCE)
WATCHLISTS_PER_PERSON = 10


def looks_after(person: str, customer: dict) -> bool:
    return customer["adviser"] == person


RECORD_RULES = (looks_after,)  # the API behind lets us see everybody: so it is us who must ask for whom


def create_app(settings: Settings, http: httpx2.AsyncClient | None = None, trail: Trail | None = None) -> Starlette:
    """The app. `http` is what it fetches everything with: keys, introspection, customers."""
    settings = replace(settings, required_scopes=settings.required_scopes or BASIC_SCOPES)
    protected = Protected(MCPServer("market mood", log_level="WARNING"), settings, http=http, trail=trail)
    protected.method("tools/list", SENTIMENT)  # which tools there are is for those who use the basic one
    for method in ("resources/list", "resources/templates/list", "resources/read"):
        protected.method(method, READ_CUSTOMERS)
    for add in (add_mood, add_customers, add_watchlists):
        add(protected)
    return protected.app(json_response=True)


def add_mood(protected: Protected) -> None:
    @protected.tool(SENTIMENT)
    def score_headline(headline: str) -> float:
        """How a headline sounds to the market, from -1 (gloomy) to 1 (cheerful)."""
        return sample.mood(headline)

    @protected.tool(REBALANCE)
    def rebalance(portfolio: dict[str, float]) -> dict[str, float]:
        """The same money, spread evenly over a portfolio."""
        return sample.evened_out(portfolio)

    @protected.tool()
    def whoami() -> str:
        """On whose behalf, and through which client, this request came."""
        token = get_access_token()
        return f"{token.subject}, through client {token.client_id}"


def add_customers(protected: Protected) -> None:
    """From the sample; with UPSTREAM_TOKEN, from an API that knows us by that token: no caller's token goes there."""
    own = os.environ.get("UPSTREAM_TOKEN", "")

    async def fetched(id: str) -> dict | None:
        if not own:
            return sample.CUSTOMERS.get(id)
        try:
            web, headers = protected.verifier.web.client(), {"Authorization": f"Bearer {own}"}
            answer = await web.get(f"{UPSTREAM}/customers/{id}", headers=headers)
            return answer.raise_for_status().json() if answer.status_code != 404 else None
        except (httpx2.HTTPError, ValueError):
            raise ResourceError("The customers cannot be reached now; try again soon") from None

    @protected.resource("customers://{id}", READ_CUSTOMERS)
    async def customer(id: str) -> dict:
        """A customer and the portfolio they hold."""
        # with our token, ".." would lead to another address
        found = await fetched(id) if re.fullmatch(r"[A-Za-z0-9-]{1,40}", id) else None
        if not found or not all(rule(get_access_token().subject, found) for rule in RECORD_RULES):
            raise ResourceNotFoundError(f"There is no customer {id}")  # nor do we say whether there is
        return found

    @protected.tool(READ_CUSTOMERS, REBALANCE)
    async def rebalance_customer(id: str) -> dict[str, float]:
        """The money of a customer, spread evenly."""
        return sample.evened_out((await customer(id))["portfolio"])


def add_watchlists(protected: Protected) -> None:
    watchlists: dict[tuple[str, str], list[str]] = {}  # by person and handle: a handle is a name, not a key

    @protected.tool(SENTIMENT)
    def keep_watchlist(companies: list[str]) -> str:
        """Keep a list of companies; the answer is the handle under which `watchlist` finds it."""
        person, handle = get_access_token().subject, secrets.token_urlsafe(16)
        if len(kept := [name for name in watchlists if name[0] == person]) >= WATCHLISTS_PER_PERSON:
            del watchlists[kept[0]]
        watchlists[person, handle] = companies
        return handle

    @protected.tool(SENTIMENT)
    def watchlist(handle: str) -> list[str]:
        """The companies kept under this handle."""
        found = watchlists.get((get_access_token().subject, handle))
        if found is None:
            raise ToolError("unknown handle")
        return found
