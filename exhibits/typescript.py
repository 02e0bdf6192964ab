"""What the client of the MCP SDK for TypeScript says: the Inspector, many editors and agents are built on it."""

import json
import subprocess
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from exhibits.core import NODE_FOLDER, TYPESCRIPT, group
from exhibits.stage import free_port, served

exhibit = group("The MCP SDK for TypeScript, as a client")
INSIDE = "In the Inspector, Claude Code, Cursor, mcp-remote and other clients that are built on it."
SCRIPT = Path(__file__).parent / "connect.mjs"
METADATA = "/.well-known/oauth-protected-resource/mcp"
SERVER_METADATA = "/.well-known/oauth-authorization-server"
LOCKED = {"/mcp": (401, {"error": "invalid_token"})}
RESOURCE = {METADATA: (200, {"resource": "ORIGIN/mcp", "authorization_servers": ["ORIGIN"]})}
SERVER = {
    "issuer": "ORIGIN",
    "authorization_endpoint": "ORIGIN/authorize",
    "token_endpoint": "ORIGIN/token",
    "response_types_supported": ["code"],
    "code_challenge_methods_supported": ["S256"],
}
Answers = dict[str, tuple[int, object]]


def said(url: str, how: str) -> str:
    command = ["node", str(SCRIPT), str(NODE_FOLDER), url, how]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60)
    return f"{done.stdout}{done.stderr}".strip()


def connected(answers: Answers, how: str = "person") -> str:
    """What the client says about a server that answers so, and 404 Not Found otherwise. ORIGIN is its own."""

    async def answer(request: Request) -> Response:
        status, body = answers.get(request.url.path, (404, "Not Found"))
        text = body if isinstance(body, str) else json.dumps(body)
        kind = "text/plain" if isinstance(body, str) else "application/json"
        return Response(text.replace("ORIGIN", str(request.base_url).rstrip("/")), status, media_type=kind)

    with served(Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])) as origin:
        return said(f"{origin}/mcp", how)


@exhibit(
    "ts-no-registration",
    "Error: Incompatible auth server: does not support dynamic client registration",
    seen=INSIDE,
    cause="The authorization server's metadata has no `registration_endpoint`, and the client has neither a "
    "`client_id` for this server nor a client metadata document that the server would take. GitHub, Google and "
    "others offer no open registration.",
    cure="Register a client by hand and give its `client_id` to the program (many have a setting for it), or put "
    "an authorization server of your own before the other one.",
    step="03",
    needs=TYPESCRIPT,
    slow=True,
)
def ts_no_registration() -> str:
    return connected(LOCKED | RESOURCE | {SERVER_METADATA: (200, SERVER)})


@exhibit(
    "ts-no-s256",
    "Error: Incompatible auth server: does not support code challenge method S256",
    seen=INSIDE,
    cause="The authorization server's metadata has a list `code_challenge_methods_supported`, and S256 is not in "
    "it. MCP clients must not go on without PKCE.",
    cure="Let the server support S256 and say so.",
    step="02",
    needs=TYPESCRIPT,
    slow=True,
)
def ts_no_s256() -> str:
    server = SERVER | {"code_challenge_methods_supported": ["plain"], "registration_endpoint": "ORIGIN/register"}
    registered = {"client_id": "a client", "redirect_uris": ["http://localhost:6274/oauth/callback"]}
    return connected(LOCKED | RESOURCE | {SERVER_METADATA: (200, server), "/register": (201, registered)})


@exhibit(
    "ts-resource-mismatch",
    "Error: Protected resource … does not match expected … (or origin)",
    seen=INSIDE + " The Inspector writes `Failed to start OAuth flow:` before it.",
    cause="The protected resource metadata names a `resource` of another origin or path than the URL the client "
    "was given (RFC 9728 §3.3): the authorization server's URL, the address behind a proxy, http for https, "
    "`localhost` for `127.0.0.1`.",
    cure="Publish the URL by which clients reach the MCP server, and give the client that one.",
    step="01",
    needs=TYPESCRIPT,
    slow=True,
)
def ts_resource_mismatch() -> str:
    other = {"resource": "https://auth.example/", "authorization_servers": ["ORIGIN"]}
    return connected(LOCKED | {METADATA: (200, other), SERVER_METADATA: (200, SERVER)})


@exhibit(
    "ts-not-json",
    "HTTP 404: Invalid OAuth error response: SyntaxError: Unexpected token 'N', \"Not Found\" is not valid JSON. "
    "Raw body: Not Found",
    seen=INSIDE + " Claude Code writes `SDK auth failed:` before it.",
    cause="The server said 401 and has no metadata at all. So the client took it for its own authorization "
    "server, as the revision 2025-03-26 had it, and tried to register at `/register`, where there is nothing. "
    "Often the 401 was only about a missing or wrong API key.",
    cure="Let a server that wants OAuth publish its metadata. If it wants a key, send the right header.",
    step="01",
    needs=TYPESCRIPT,
    slow=True,
)
def ts_not_json() -> str:
    return connected(LOCKED)


@exhibit(
    "ts-metadata-500",
    "Error: HTTP 500 trying to load OAuth metadata from …",
    seen=INSIDE,
    cause="The authorization server answered the request for its metadata with an error, where 404 would have let "
    "the client try the next address.",
    cure="Ask for the well-known address with curl, and read that server's log.",
    step="02",
    needs=TYPESCRIPT,
    slow=True,
)
def ts_metadata_500() -> str:
    return connected(LOCKED | RESOURCE | {SERVER_METADATA: (500, "Internal Server Error")})


@exhibit(
    "ts-error-posting",
    "Error POSTing to endpoint: …",
    seen=INSIDE + " Before it: `Streamable HTTP error:`.",
    cause="The MCP endpoint answered a message with an HTTP error; what follows is the body. With 401 the client "
    "had no way to sign in, with 403 `Invalid Host` or `Invalid Origin` see above, with 404 the path is wrong.",
    cure="Ask the same address with `curl -i`, and read status and headers.",
    step="01",
    needs=TYPESCRIPT,
    slow=True,
)
def ts_error_posting() -> str:
    return connected(LOCKED, "open")


@exhibit(
    "ts-401-after-success",
    "Server returned 401 after successful authentication",
    seen=INSIDE,
    cause="The authorization server gave a token, and the MCP server does not take it: it has another `aud` or "
    "`iss`, is signed with a key that the MCP server does not know, or is opaque where a JWT is expected.",
    cure="Decode the token, and compare `iss` and `aud` with the metadata. The server's log should name the rule.",
    step="05",
    needs=TYPESCRIPT,
    slow=True,
)
def ts_401_after_success() -> str:
    token = {"access_token": "made for somebody else", "token_type": "Bearer"}
    return connected(LOCKED | RESOURCE | {SERVER_METADATA: (200, SERVER), "/token": (200, token)}, "returning")


@exhibit(
    "ts-existing-client",
    "Error: Existing OAuth client information is required when exchanging an authorization code",
    seen=INSIDE,
    cause="The person came back with a code, and the client does not know any more as whom it asked: the store "
    "was emptied meanwhile, a second process wrote over it, or the callback came to another process.",
    cure="Sign out and begin again. Whoever writes a client saves `client_id`, verifier and `state` before the "
    "browser opens.",
    step="04",
    needs=TYPESCRIPT,
    slow=True,
)
def ts_existing_client() -> str:
    return connected(LOCKED | RESOURCE | {SERVER_METADATA: (200, SERVER)}, "forgetful")


@exhibit(
    "ts-fetch-failed",
    "TypeError: fetch failed",
    seen=INSIDE + " The reason is in `cause`, which many programs do not print.",
    cause="Node got no answer: nobody listens (`ECONNREFUSED`), the name is unknown (`ENOTFOUND`), or the "
    "certificate is not trusted (`DEPTH_ZERO_SELF_SIGNED_CERT`; Node does not read the system's store by itself).",
    cure="Ask for the address with curl. For a company's authority set `NODE_EXTRA_CA_CERTS`.",
    step="01",
    needs=TYPESCRIPT,
    slow=True,
)
def ts_fetch_failed() -> str:
    return said(f"http://127.0.0.1:{free_port()}/mcp", "open")
