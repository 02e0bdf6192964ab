"""Step 03 · a client nobody knew a second ago gets a name, on the server's terms.

The authorization server: it knows clients, asks people and makes tokens; it never sees an MCP request.
"""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shared.addresses import ISSUER, RESOURCE
from shared.bodies import BadBody
from shared.serving import HEALTH, serve

from .clients import AUTH_METHODS, NO_STORE, SCOPES, OAuthError, register

# ── what we remember ──────────────────────────────────────────────────────────

CACHEABLE = {"Cache-Control": "public, max-age=3600"}
RESOURCES = (
    RESOURCE,
)

# ── how we say no ─────────────────────────────────────────────────────────────


async def refuse(request: Request, no: OAuthError | BadBody) -> Response:
    """The one place where a no becomes HTTP."""
    return JSONResponse({"error": no.error, "error_description": no.why}, no.status, NO_STORE)


# ── endpoints ─────────────────────────────────────────────────────────────────


async def server_metadata(_: Request) -> Response:
    """RFC 8414 §2: what this server can do."""
    about_us = {
        "issuer": ISSUER,
        "authorization_endpoint": f"{ISSUER}/authorize",
        "token_endpoint": f"{ISSUER}/token",
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": AUTH_METHODS,
        "registration_endpoint": f"{ISSUER}/register",
        "scopes_supported": list(SCOPES),
        "protected_resources": RESOURCES,
    }
    return JSONResponse(about_us, headers=CACHEABLE)


async def not_yet(_: Request) -> Response:
    return Response("This endpoint is announced and not built yet.", 501)


# ── the app ───────────────────────────────────────────────────────────────────

app = Starlette(
    routes=[
        HEALTH,
        Route("/.well-known/oauth-authorization-server", server_metadata),
        Route("/register", register, methods=["POST"]),
        Route("/authorize", not_yet),
        Route("/token", not_yet, methods=["POST"]),
    ],
    exception_handlers={OAuthError: refuse, BadBody: refuse},
)

if __name__ == "__main__":
    serve(app, ISSUER)
