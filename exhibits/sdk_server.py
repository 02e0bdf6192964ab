"""What servers built with the MCP SDK for Python say."""

from mcp.server import MCPServer
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from attacks.world import ACCEPT
from exhibits.core import group
from exhibits.logs import line_of
from exhibits.server_stage import (
    INITIALIZE,
    LIST_TOOLS,
    ORIGIN,
    locked_server,
    open_server,
    shown,
)

exhibit = group("The MCP SDK for Python, as a server")
BODY = "In the body of the answer of the MCP endpoint, and in the log of the client that shows it."


@exhibit(
    "invalid-host",
    "Invalid Host header",
    seen="With status 421 Misdirected Request, in the body and in the server's log.",
    cause="The server is reached by a name that it does not expect. Made for 127.0.0.1, the SDK's app accepts "
    "only `localhost`, `127.0.0.1` and `[::1]`, against DNS rebinding; behind a proxy, a tunnel or in a container "
    "the `Host` is another one.",
    cure="Pass `transport_security=TransportSecuritySettings(allowed_hosts=[…], allowed_origins=[…])` with the "
    "names under which clients reach it. Do not switch the check off.",
    step="07",
)
def invalid_host() -> str:
    with open_server() as client:
        return shown(client.post("/mcp", json=INITIALIZE, headers={"Host": "mcp.example"}))


@exhibit(
    "invalid-origin",
    "Invalid Origin header",
    seen="With status 403, in the body and in the server's log.",
    cause="The request comes from a page in a browser, of an origin that the server does not expect: MCP servers "
    "must check it, so that no web page can use a server on the visitor's computer.",
    cure="If the page is yours, add its origin to `allowed_origins`: the Inspector's is `http://localhost:6274`.",
    step="07",
)
def invalid_origin() -> str:
    with open_server() as client:
        return shown(client.post("/mcp", json=INITIALIZE, headers={"Origin": "https://evil.example"}))


@exhibit(
    "invalid-content-type",
    "Invalid Content-Type header",
    seen="With status 400, most often with `curl -d`.",
    cause="`curl -d` sends `application/x-www-form-urlencoded`; MCP messages are `application/json`.",
    cure="Add `-H 'Content-Type: application/json'`, or use `curl --json`.",
    step="01",
)
def invalid_content_type() -> str:
    with open_server() as client:
        return shown(client.post("/mcp", data={"jsonrpc": "2.0"}))


@exhibit(
    "not-acceptable",
    "Not Acceptable: Client must accept both application/json and text/event-stream",
    seen=BODY,
    cause="A client of Streamable HTTP must accept both, because the server chooses between one answer and a "
    "stream. curl and most HTTP libraries send `Accept: */*` or only JSON.",
    cure="Send `Accept: application/json, text/event-stream`.",
    step="04",
)
def not_acceptable() -> str:
    with open_server() as client:
        return shown(client.post("/mcp", json=INITIALIZE, headers={"Accept": "application/json"}))


@exhibit(
    "not-acceptable-stream",
    "Not Acceptable: Client must accept text/event-stream",
    seen="In a browser, when somebody opens the address of an MCP server.",
    cause="A browser sends GET, and on this path GET opens a stream of events. The server is up and well.",
    cure="Use an MCP client. To see whether the server lives, ask for its metadata or a health page.",
    step="01",
)
def not_acceptable_stream() -> str:
    with open_server() as client:
        return shown(client.get("/mcp", headers={"Accept": "text/html"}))


@exhibit(
    "missing-session",
    "Bad Request: Missing session ID",
    seen=BODY,
    cause="The client speaks a revision with sessions (2025-11-25 or older), and sent a message without "
    "`Mcp-Session-Id` that is not `initialize`: it left out the handshake, or a proxy dropped the header.",
    cure="Send `initialize` first and repeat the header of its answer; or speak 2026-07-28, which has no "
    "sessions; or make the server with `stateless_http=True`.",
    step="04",
)
def missing_session() -> str:
    with open_server() as client:
        return shown(client.post("/mcp", json=LIST_TOOLS))


@exhibit(
    "session-not-found",
    "Session not found",
    seen=BODY,
    cause="The server does not know this `Mcp-Session-Id`: it was restarted, the session was idle for too long, "
    "another of several workers holds it, or it was begun with another token. A session belongs to whoever began "
    "it.",
    cure="Begin a new session with `initialize`. With several workers, make the server with `stateless_http=True`.",
    step="07",
)
def session_not_found() -> str:
    with open_server() as client:
        return shown(client.post("/mcp", json=LIST_TOOLS, headers={"Mcp-Session-Id": "of a server that is gone"}))


@exhibit(
    "task-group",
    "RuntimeError: Task group is not initialized. Make sure to use run().",
    seen="In the server's log with a traceback, at the first request; the client gets 500.",
    cause="`streamable_http_app()` was mounted in another app. Starlette does not run the lifespan of a mounted "
    "app, so the session manager never started.",
    cure="Give the outer app `lifespan=lambda _: mcp.session_manager.run()`, as the MCP server of each step does.",
    step="04",
)
def task_group() -> str:
    app = Starlette(routes=[Mount("/", MCPServer("a test").streamable_http_app())])
    with TestClient(app, ORIGIN) as client:
        try:
            return shown(client.post("/mcp", json=INITIALIZE, headers=ACCEPT))
        except RuntimeError as error:
            return line_of(error)


@exhibit(
    "fastmcp-import",
    "No module named 'mcp.server.fastmcp'",
    seen="In a traceback, when a program starts.",
    cause="The program was written for version 1 of the SDK. In version 2 `FastMCP` is `MCPServer`.",
    cure="`from mcp.server.mcpserver import MCPServer`, and read the migration guide that the message names; or "
    "install `mcp<2`.",
    step="04",
)
def fastmcp_import() -> str:
    try:
        import mcp.server.fastmcp  # noqa: F401
    except ModuleNotFoundError as error:
        return line_of(error)
    return "It was found."


@exhibit(
    "authentication-required",
    'error="invalid_token", error_description="Authentication required"',
    seen="In `WWW-Authenticate`, with status 401.",
    cause="The SDK's own bearer check says this for every failure: no token at all, one that the verifier "
    "returned nothing for, one that has expired. It says `invalid_token` even if none came, where RFC 6750 §3.1 "
    "wants no error code, and it names no scopes.",
    cure="Look at what was sent. If a token was sent, ask the verifier why it returned nothing: it is the "
    "server's code that knows.",
    step="05",
)
def authentication_required() -> str:
    with locked_server() as client:
        return shown(client.post("/mcp", json=INITIALIZE))


@exhibit(
    "required-scope",
    'error="insufficient_scope", error_description="Required scope: …"',
    seen="In `WWW-Authenticate`, with status 403.",
    cause="The token is good and lacks a scope that the server requires of every request (`required_scopes`). "
    "Some authorization servers name their scopes differently, or put them into `scp` and not `scope`.",
    cure="Ask for the scope in the authorization request, and let the verifier return the scopes of the token.",
    step="06",
)
def required_scope() -> str:
    with locked_server(required_scopes=["write"]) as client:
        return shown(client.post("/mcp", json=INITIALIZE, headers={"Authorization": "Bearer a-token"}))


@exhibit(
    "token-resource",
    "Bearer token resource … is not resource_server_url …",
    seen="In the server's log; the client gets only 401.",
    cause="The token is genuine and was made for another server, or the verifier does not return its audience as "
    "`resource`. With `validate_token_resource=True` the SDK refuses it.",
    cure="Let the client send `resource` in both requests, the authorization server put it into `aud`, and the "
    "verifier return it.",
    step="05",
)
def token_resource() -> str:
    with locked_server("http://localhost:8001/mcp", validate_token_resource=True) as client:
        return shown(client.post("/mcp", json=INITIALIZE, headers={"Authorization": "Bearer a-token"}))
