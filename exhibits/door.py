"""What the MCP server of the steps answers at its door."""

from starlette.applications import Starlette

from attacks.world import BASIC, REBALANCE
from exhibits.core import group
from exhibits.server_stage import shown
from exhibits.stage import servers

exhibit = group("OAuth: what an MCP server answers")
CHALLENGE = "In the header `WWW-Authenticate` of the MCP server."


@exhibit(
    "no-token",
    'www-authenticate: Bearer realm="mcp", resource_metadata="…", scope="…"',
    seen=CHALLENGE + " The status is 401.",
    cause="No token came. This is not an error but the beginning: the header names the metadata, where the client "
    "finds the authorization server (RFC 9728 §5.1). An `Authorization` header with another scheme, or a token in "
    "the query, counts as none.",
    cure="Follow `resource_metadata`. If you did send a token, a redirect or a proxy may have dropped it.",
    step="01",
)
def no_token() -> str:
    with servers() as world:
        return shown(world.list_tools())


@exhibit(
    "invalid-token",
    'error="invalid_token", error_description="The access token is invalid or expired"',
    seen=CHALLENGE + " The status is 401.",
    cause="The token is expired, made for another server, signed by somebody else, or no JWT. One sentence for "
    "all of them: whoever tries out tokens learns nothing (RFC 9068 §4).",
    cure="A client refreshes the token, or gets a new one. Whoever runs the server finds the rule that refused it "
    "in `out/step-05/mcp_server.log`.",
    step="05",
)
def invalid_token() -> str:
    with servers() as world:
        return shown(world.list_tools("Bearer not-a-token-of-ours"))


@exhibit(
    "insufficient-scope",
    'error="insufficient_scope"',
    seen=CHALLENGE + " The status is 403.",
    cause="The token is good and does not allow this operation. `scope` in the same header names all that it "
    "needs (OAuth 2.1 §5.3.2).",
    cure="Ask the person for the old and the new scopes together (step-up), and try once more.",
    step="06",
)
def insufficient_scope() -> str:
    with servers() as world:
        return shown(world.call(world.access_token(scope=BASIC), "rebalance", portfolio={"ACME": 1.0}))


@exhibit(
    "more-than-one-header",
    "There is more than one Authorization header",
    seen=CHALLENGE + " The status is 400, the error `invalid_request`.",
    cause="Two `Authorization` headers came. Two programs may then believe two different ones.",
    cure="Find who adds the second: often a proxy, or `headers` and `auth` of the same HTTP client.",
    step="05",
)
def more_than_one_header() -> str:
    with servers() as world:
        token = world.access_token()
        return shown(world.list_tools(f"Bearer {token}", f"Bearer {token}"))


@exhibit(
    "temporarily-unavailable",
    '"error":"temporarily_unavailable"',
    seen="In the answer of the MCP server, with status 503 and `Retry-After`.",
    cause="The MCP server cannot fetch the keys of the authorization server, so it cannot tell whether the token "
    "is good. It must not say 401: the client would throw away a token that may be fine.",
    cure="Start the authorization server, or make it reachable from the MCP server, and try again.",
    step="05",
)
def temporarily_unavailable() -> str:
    with servers() as world:
        token = world.access_token()
        world.connect(Starlette())
        return shown(world.list_tools(f"Bearer {token}"))


@exhibit(
    "announced-something-else",
    "Mcp-Method or Mcp-Name announces something else than the body",
    seen="In the body of the answer of the MCP server, with status 400 and the code -32020.",
    cause="In the revision 2026-07-28 headers repeat the method and the name of the body. If they differ, whoever "
    "judges by the one and acts by the other can be fooled, so the request is refused.",
    cure="Take both from the same message, as the SDK's client does.",
    step="06",
)
def announced_something_else() -> str:
    with servers() as world:
        token = world.access_token(scope=f"{BASIC} {REBALANCE}")
        return shown(world.call(token, "rebalance", {"Mcp-Name": "score_headline"}, portfolio={"ACME": 1.0}))
