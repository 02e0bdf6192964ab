"""What the client of the MCP SDK for Python says while it finds and gets to know the servers."""

from mcp.client.auth import OAuthClientProvider

from exhibits.client_stage import (
    METADATA,
    SERVER_METADATA,
    Forgetful,
    about_us,
    connect,
    instead,
    saying,
)
from exhibits.core import group
from exhibits.logs import line_of
from shared.addresses import ISSUER, RESOURCE

exhibit = group("The MCP SDK for Python, as a client")
TRACEBACK = "At the end of a traceback, below `OAuth flow error`."


@exhibit(
    "oauth-flow-error",
    "OAuth flow error",
    seen="In the log of a program that uses `OAuthClientProvider`, before a traceback.",
    cause="The SDK logs this for whatever goes wrong between the 401 and the token. The words say nothing; the "
    "last line of the traceback does.",
    cure="Read the last line of the traceback, and look that up here.",
    step="04",
)
def oauth_flow_error() -> str:
    return connect({"/token": instead(500, "Internal Server Error")})


@exhibit(
    "resource-mismatch",
    "Protected resource … does not match expected …",
    seen=TRACEBACK,
    cause="The protected resource metadata names a `resource` that is not the URL the client was given, nor a "
    "parent of it: another host (`127.0.0.1` is not `localhost`), port, scheme or path. A client must not use "
    "such metadata (RFC 9728 §3.3): it may belong to another server.",
    cure="Give the client exactly the URL that the metadata names, or let the server publish the URL by which "
    "clients reach it. Behind a proxy that is the outside address.",
    step="01",
)
def resource_mismatch() -> str:
    return connect({METADATA: saying(resource=RESOURCE.replace("localhost", "127.0.0.1"))})


@exhibit(
    "metadata-request-failed",
    "Protected resource metadata request failed: HTTP …",
    seen=TRACEBACK,
    cause="The MCP server said 401, and then answered the request for its metadata with a status of 500 or more, "
    "or 429. The client tries every address where metadata may be. If none has any, and one failed like this, it "
    "stops: an error does not say that there is none.",
    cure="Ask for the address in `resource_metadata` of the challenge with curl, and repair what answers there: "
    "often a proxy that knows only the path of the MCP endpoint.",
    step="01",
)
def metadata_request_failed() -> str:
    broken = instead(502, "Bad Gateway")
    return connect({METADATA: broken, METADATA.removesuffix("/mcp"): broken})


@exhibit(
    "issuer-mismatch",
    "Authorization server metadata issuer mismatch: … != …",
    seen=TRACEBACK,
    cause="The `issuer` in the authorization server's metadata is not, character by character, the string in "
    "`authorization_servers` (RFC 8414 §3.3). Most often it is a slash at the end, which pydantic's `AnyHttpUrl` "
    "appends to a URL without a path.",
    cure="Write the issuer in one way everywhere: in both metadata documents, in `iss`, and in the settings of "
    "the MCP server. Keep it as text.",
    step="02",
)
def issuer_mismatch() -> str:
    return connect({SERVER_METADATA: saying(issuer=f"{ISSUER}/")})


@exhibit(
    "registration-failed-404",
    "Registration failed: 404 Not Found",
    seen=TRACEBACK,
    cause="The authorization server's metadata has no `registration_endpoint`, so the client tried `/register` at "
    "the MCP server, as the revision 2025-03-26 had it, and there is nothing.",
    cure="Register the client by hand and put its `client_id` into the client's storage, or use a client metadata "
    "document (`client_metadata_url`) if the server takes those, or let the server offer registration.",
    step="03",
)
def registration_failed_404() -> str:
    return connect({SERVER_METADATA: saying(registration_endpoint=None)})


@exhibit(
    "registration-failed-redirect",
    'Registration failed: 400 {"error":"invalid_redirect_uri"',
    seen=TRACEBACK,
    cause="The client wants to be registered with an address that the server refuses: plain http on a host that "
    "is not this computer, a fragment, or a wildcard (RFC 9700 §2.6).",
    cure="Use https, or `http://127.0.0.1` with any port and a path for a program on the user's computer (RFC "
    "8252 §7.3).",
    step="03",
)
def registration_failed_redirect() -> str:
    return connect(about=about_us(redirect_uris=["http://app.example/callback"]))


@exhibit(
    "no-client-secret",
    "Authorization server registered the client for 'client_secret_basic' but issued no client_secret",
    seen=TRACEBACK,
    cause="The server answered the registration with a `token_endpoint_auth_method` that needs a secret, and gave "
    "none. Some servers fill in this default (RFC 7591 §2) without noticing that they made a public client.",
    cure='Let the client ask for `token_endpoint_auth_method="none"` in its metadata, and the server repeat what '
    "it really registered.",
    step="03",
)
def no_client_secret() -> str:
    return connect({"/register": saying(token_endpoint_auth_method="client_secret_basic")})


@exhibit(
    "client-metadata-url",
    "client_metadata_url must be a valid HTTPS URL with a non-root pathname, got: …",
    seen="In a traceback, as soon as the `OAuthClientProvider` is made.",
    cause="A client metadata document is found under its `client_id`, and that must be an https URL with a path. "
    "`http://localhost` will not do, not even for a demo.",
    cure="Publish the document on https under a path such as `/client.json`, or register the client.",
    step="03",
)
def client_metadata_url() -> str:
    try:
        document = "http://localhost:3000/client.json"
        OAuthClientProvider(RESOURCE, about_us(), Forgetful(), client_metadata_url=document)
    except ValueError as error:
        return line_of(error)
    return "It was accepted."
