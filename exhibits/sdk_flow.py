"""What the client of the MCP SDK for Python says between consent and the first tool."""

import anyio
import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.server import MCPServer
from starlette.applications import Starlette

from exhibits.client_stage import (
    connect,
    instead,
    said_by_client,
)
from exhibits.core import group
from exhibits.logs import line_of
from exhibits.stage import servers
from shared.addresses import RESOURCE

exhibit = group("The MCP SDK for Python, as a client")
TRACEBACK = "At the end of a traceback, below `OAuth flow error`."


@exhibit(
    "no-redirect-handler",
    "No redirect handler provided for authorization code grant",
    seen=TRACEBACK,
    cause="The server wants a person's consent, and the `OAuthClientProvider` was made without "
    "`redirect_handler`: it has nobody to send to the page.",
    cure="Pass `redirect_handler` and `callback_handler`. A program without a person uses the client credentials "
    "grant: `ClientCredentialsOAuthProvider`.",
    step="08",
)
def no_redirect_handler() -> str:
    return connect(redirect_handler=None)


@exhibit(
    "no-authorization-code",
    "No authorization code received",
    seen=TRACEBACK,
    cause="The redirect came back without a `code`. Most often it carries `error` instead, such as "
    "`access_denied` after the person pressed Deny, or `invalid_scope`; the SDK's client does not look at it.",
    cure="Let `callback_handler` read `error` and `error_description` from the redirect, and tell them.",
    step="06",
)
def no_authorization_code() -> str:
    return connect(decision="deny")


@exhibit(
    "state-mismatch",
    "State parameter mismatch: … != …",
    seen=TRACEBACK,
    cause="The answer that came to the callback does not belong to the request just made: an old browser tab, a "
    "second flow on the same port, an attack, or a `callback_handler` that does not pass `state` on (`None != "
    "…`).",
    cure="Return `state` from `callback_handler` as it came, let only one flow run at a time, and begin again.",
    step="04",
)
def state_mismatch() -> str:
    return connect(answer={"state": "of an older tab"})


@exhibit(
    "iss-mismatch",
    "Authorization response iss mismatch: … != …",
    seen=TRACEBACK,
    cause="The `iss` in the redirect is not the issuer that the client asked (RFC 9207 §2.4). Either the answer "
    "comes from another server (a mix-up attack), or the server writes its own name in two ways.",
    cure="Compare both strings: if only a slash differs, repair the server. Otherwise do not go on.",
    step="07",
)
def iss_mismatch() -> str:
    return connect(answer={"iss": "https://another.example"})


@exhibit(
    "iss-missing",
    "Authorization response missing iss parameter advertised by the authorization server",
    seen=TRACEBACK,
    cause="The metadata says `authorization_response_iss_parameter_supported`, and no `iss` reached the client. "
    "Usually the `callback_handler` returned `code` and `state` and forgot it.",
    cure="Return `AuthorizationCodeResult(code, state, iss)` with all three from `callback_handler`.",
    step="07",
)
def iss_missing() -> str:
    return connect(answer={"iss": None})


@exhibit(
    "token-exchange-failed",
    'Token exchange failed (400): {"error":"invalid_grant"',
    seen=TRACEBACK,
    cause="The token endpoint did not accept the code: it was used before, is too old, was made for another "
    "client or `redirect_uri`, or the `code_verifier` does not fit. The rest of the line is the server's answer.",
    cure="Read `error_description`, and begin a new flow: a code works once. If it always fails, compare the "
    "parameters of both requests.",
    step="04",
)
def token_exchange_failed() -> str:
    return connect(answer={"code": "a code that was used"})


@exhibit(
    "invalid-token-response",
    "Invalid token response: 1 validation error for OAuthToken",
    seen=TRACEBACK,
    cause="The token endpoint said 200, but its answer is no token response (OAuth 2.1 §3.2.3): a page of HTML, "
    "an `access_token` that is missing, or a `token_type` that is not Bearer.",
    cure="Look at the answer with curl. A sign-in page means that `token_endpoint` in the metadata is wrong.",
    step="04",
)
def invalid_token_response() -> str:
    return connect({"/token": instead(200, "<!doctype html>")})


@exhibit(
    "error-response",
    "Server returned an error response",
    seen="At the end of a traceback, as `MCPError`.",
    cause="The MCP server answered with an HTTP error that is no JSON-RPC message. Most often it is 401: the "
    "server wants a token, and the client was made without `auth`.",
    cure="Ask the endpoint with `curl -i`: the status and `WWW-Authenticate` say what is missing. Give the "
    "`httpx2.AsyncClient` an `OAuthClientProvider`, or the token in its headers.",
    step="01",
)
def error_response() -> str:
    with servers() as world:
        return said_by_client(world, {})


@exhibit(
    "unexpected-content-type",
    "Unexpected content type: text/html",
    seen="In the log, and as `MCPError`.",
    cause="The address is not an MCP endpoint. A web page answers there: the root of the server instead of "
    "`/mcp`, a sign-in page, or a proxy's error page.",
    cure="Use the full URL of the endpoint, with its path.",
    step="01",
)
def unexpected_content_type() -> str:
    return connect({"/mcp": instead(200, "<!doctype html>", headers={"Content-Type": "text/html"})})


@exhibit(
    "session-terminated",
    "Session terminated",
    seen="At the end of a traceback, as `MCPError`.",
    cause="The client speaks a revision with sessions (2025-11-25 or older), and in an open session came a 404 "
    "that is no JSON-RPC message: the server behind the address was replaced, or a proxy lost the way to it. The "
    "client does not begin a new session by itself.",
    cure="Connect again. If it happens often, look at what stands between client and server.",
    step="06",
)
def session_terminated() -> str:
    return anyio.run(call_after_the_server_is_gone)


async def call_after_the_server_is_gone() -> str:
    app = MCPServer("a test").streamable_http_app(json_response=True)
    way = httpx2.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=way) as http,
        Client(streamable_http_client(RESOURCE, http_client=http), mode="legacy") as client,
    ):
        way.app = Starlette()  # which has no route at all
        try:
            await client.list_tools()
        except MCPError as error:
            return line_of(error)
    return "The session goes on."
