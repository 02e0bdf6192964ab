"""What this server says of itself: its metadata, and the public halves of its keys. RFC 8414, RFC 7517."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .client_authentication import WAYS
from .context import server_of
from .parameters import OFFLINE_ACCESS
from .registration import all_scopes, may_register
from .settings import ALGORITHMS, Settings
from .token import GRANT_TYPES

CACHEABLE = {"Cache-Control": "public, max-age=3600"}
KEYS_CACHEABLE = {"Cache-Control": "public, max-age=300"}  # no longer than the usual `key_overlap`
SUFFIX = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"


async def server_metadata(request: Request) -> Response:
    """RFC 8414 §2: what this server can do, and nothing that it cannot."""
    server = server_of(request)
    settings, resources = server.settings, await server.directory.ask(server.directory.resources)
    issuer, methods = settings.issuer, list(WAYS)
    found = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "response_types_supported": ["code"],
        "grant_types_supported": list(GRANT_TYPES),
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": methods,
        "scopes_supported": [*all_scopes(resources), OFFLINE_ACCESS],
        "authorization_response_iss_parameter_supported": True,  # RFC 9207 §3
        "jwks_uri": f"{issuer}/jwks",
        "revocation_endpoint": f"{issuer}/revoke",
        "revocation_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "revocation_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "introspection_endpoint": f"{issuer}/introspect",
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "response_modes_supported": ["query"],
        "protected_resources": list(resources),  # RFC 9728 §4
    }
    found |= {"registration_endpoint": f"{issuer}/register"} if may_register(settings) else {}
    found |= {"client_id_metadata_document_supported": True} if settings.client_metadata_documents else {}
    return JSONResponse(found, headers=CACHEABLE)


async def jwks(request: Request) -> Response:
    """RFC 7517 §5: for whoever checks our tokens."""
    return JSONResponse(server_of(request).keys.jwks(), headers=KEYS_CACHEABLE)


def well_known(settings: Settings) -> list[str]:
    """Where MCP's clients look. For an issuer with a path that is three places, and a proxy may hand us only the last.

    We borrow OpenID Connect's name for it there alone (RFC 8414 §5): we make no ID tokens.
    """
    if not settings.path:
        return [SUFFIX]
    return [f"{SUFFIX}{settings.path}", f"{OPENID}{settings.path}", f"{settings.path}{OPENID}"]
