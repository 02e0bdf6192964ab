"""Step 01 · a locked door that says where the key is.

Who is it: what a request must show, and what the guard answers if it does not.
"""

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from starlette.requests import Request
from starlette.responses import Response

from shared.addresses import RESOURCE

# ── what we remember ──────────────────────────────────────────────────────────

METADATA_PATH = "/.well-known/oauth-protected-resource"
METADATA_URL = RESOURCE.removesuffix("/mcp") + METADATA_PATH + "/mcp"  # RFC 9728 §3.1
BASIC_SCOPES = ("mcp:tools:sentiment", "mcp:resources:customer-data:read")
NO_STORE = {"Cache-Control": "no-store"}

# ── how we say no ─────────────────────────────────────────────────────────────


class Refused(Exception):
    """A request that stays outside, with the challenge that tells the client what to do about it."""

    def __init__(self, status: int, **challenge: str):
        self.status, self.challenge = status, challenge


def refuse(no: Refused) -> Response:
    """The one place where a no becomes HTTP: RFC 9728 §5.1."""
    parameters = ", ".join(f'{name}="{value}"' for name, value in {"realm": "mcp", **no.challenge}.items())
    return Response(status_code=no.status, headers=NO_STORE | {"WWW-Authenticate": f"Bearer {parameters}"})


def no_token() -> Refused:
    return Refused(401, resource_metadata=METADATA_URL, scope=" ".join(BASIC_SCOPES))  # OAuth 2.1 §5.3.2


# ── tokens ────────────────────────────────────────────────────────────────────


async def who_is_it(request: Request) -> AuthenticatedUser:
    raise no_token()  # nobody can show one yet: no server makes them
