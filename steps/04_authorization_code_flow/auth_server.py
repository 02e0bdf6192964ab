"""Step 04 · a stolen code is worthless: only whoever asked for it can redeem it.

The authorization server: it knows clients, asks people and makes tokens; it never sees an MCP request.
"""

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Collection
from urllib.parse import urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from shared.addresses import ISSUER, RESOURCE
from shared.bodies import BadBody, read_form, read_json
from shared.pages import STYLE, page
from shared.serving import HEALTH, serve

# ── what we remember ──────────────────────────────────────────────────────────

CACHEABLE = {"Cache-Control": "public, max-age=3600"}
NO_STORE = {"Cache-Control": "no-store"}
ON_PAGES = NO_STORE | {"Referrer-Policy": "no-referrer"}
AUTH_METHODS = (
    "none",
    "client_secret_post",
)
RESOURCES = (
    RESOURCE,
)
LOOPBACK = r"(127\.0\.0\.1|localhost|\[::1\])(?![A-Za-z0-9.-])"  # and not localhost.evil.example
ORIGIN = rf"(https://[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*|http://{LOOPBACK})(:[0-9]{{1,5}})?"
REDIRECT_URI = rf"{ORIGIN}(/[A-Za-z0-9._~!$&'()+,;=:@%/?-]*)?"
SCOPES = {
    "mcp:tools:sentiment": "Score the mood of headlines",
    "mcp:resources:customer-data:read": "Read customers and their portfolios",
    "mcp:exec:workflows:rebalance": "Rebalance a portfolio",
}
REGISTRABLE = {  # what a client may say of itself, and what its silence means: RFC 7591 §2
    "redirect_uris": [],
    "token_endpoint_auth_method": "client_secret_basic",
    "grant_types": ["authorization_code"],
    "response_types": ["code"],
    "application_type": "web",
    "client_name": "a program without a name",
    "scope": " ".join(SCOPES),
}
clients: dict[str, dict] = {}  # by client_id

PEOPLE = {"alice": "wonderland", "bob": "builder"}  # the page shows the passwords, as a demo may
CODE_LIFETIME = 60  # seconds
TOKEN_LIFETIME = 600  # seconds
ASK_NAMES = "response_type client_id redirect_uri scope state resource code_challenge code_challenge_method".split()
GRANT_NAMES = "grant_type client_id client_secret client_assertion code code_verifier redirect_uri resource".split()
asks: dict[str, dict[str, str]] = {}  # what clients asked and no person has answered yet, by request id
grants: dict[str, dict] = {}  # by code: what was asked, narrowed to what a person allowed
signing_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

# ── how we say no ─────────────────────────────────────────────────────────────


class OAuthError(Exception):
    """An error a client is meant to read: `error` is for code, `why` for people."""

    def __init__(self, error: str, why: str, status: int = 400):
        self.error, self.why, self.status = error, why, status


async def refuse(request: Request, no: OAuthError | BadBody) -> Response:
    """The one place where a no becomes HTTP."""
    if request.url.path in ("/authorize", "/consent"):
        return page("refusal.html", no.status, ON_PAGES, error=no.error, why=no.why)
    basic = no.status == 401 and "authorization" in request.headers
    headers = NO_STORE | ({"WWW-Authenticate": 'Basic realm="token"'} if basic else {})  # OAuth 2.1 §3.2.4
    return JSONResponse({"error": no.error, "error_description": no.why}, no.status, headers)


def back_to_client(ask: dict[str, str], **answer: str) -> Response:
    """Every answer to an authorization request says who sends it, and repeats `state` if there was one."""
    answer |= {"iss": ISSUER} | ({"state": ask["state"]} if "state" in ask else {})  # RFC 9207 §2
    url = ask["redirect_uri"] + ("&" if "?" in ask["redirect_uri"] else "?") + urlencode(answer)
    return RedirectResponse(url, 303, ON_PAGES)  # RFC 9700 §4.12


# ── rules ─────────────────────────────────────────────────────────────────────


def well_formed(metadata: dict) -> None:
    for name, usual in REGISTRABLE.items():
        texts = metadata[name] if isinstance(usual, list) else [metadata[name]]
        if not isinstance(texts, list) or len(texts) > 10 or not all(map(is_short_text, texts)):
            error = "invalid_redirect_uri" if name == "redirect_uris" else "invalid_client_metadata"
            raise OAuthError(error, f"{name} must be printable text, or a short list of it")


def is_short_text(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and len(value) <= 2000


def https_or_loopback(metadata: dict) -> None:
    for uri in metadata["redirect_uris"] or [""]:  # none at all is refused too
        if not re.fullmatch(REDIRECT_URI, uri):
            why = "redirect_uris: https, or http on a loopback host; no fragment, userinfo or wildcard"
            raise OAuthError("invalid_redirect_uri", why)  # RFC 9700 §2.6


def fits_application_type(metadata: dict) -> None:
    if metadata["application_type"] not in ("native", "web"):
        raise OAuthError("invalid_client_metadata", "application_type must be native or web")
    loopback = any(re.match(rf"https?://{LOOPBACK}", uri) for uri in metadata["redirect_uris"])
    if metadata["application_type"] == "web" and loopback:
        why = "a web client has no loopback redirect_uri: say application_type native"
        raise OAuthError("invalid_redirect_uri", why)  # OpenID Connect Registration §2


def known_auth_method(metadata: dict) -> None:
    if metadata["token_endpoint_auth_method"] not in AUTH_METHODS:
        why = f"token_endpoint_auth_method must be one of: {', '.join(AUTH_METHODS)}"
        raise OAuthError("invalid_client_metadata", why)  # RFC 7591 §2


def one_key_source(metadata: dict) -> None:
    if "jwks" in metadata and "jwks_uri" in metadata:
        raise OAuthError("invalid_client_metadata", "jwks and jwks_uri exclude each other")  # RFC 7591 §2


def code_grant(metadata: dict) -> None:
    if "authorization_code" not in metadata["grant_types"] or metadata["response_types"] != ["code"]:
        why = "only grant type authorization_code with response type code can be registered here"
        raise OAuthError("invalid_client_metadata", why)  # RFC 7591 §2.1


REGISTRATION_RULES = (
    well_formed,
    https_or_loopback,
    fits_application_type,
    known_auth_method,
    one_key_source,
    code_grant,
)


def once_each(pairs: list[tuple[str, str]], names: Collection[str]) -> dict[str, str]:
    """What was asked: these names, each once, as plain text. An empty value is none; the rest is ignored."""
    ask: dict[str, str] = {}
    for name, value in pairs:
        if name in ask:
            error = "invalid_target" if name == "resource" else "invalid_request"  # RFC 8707 §2
            raise OAuthError(error, "a parameter appears more than once")  # OAuth 2.1 §3.1, §3.2
        if name in names and value:
            ask[name] = value
    return ask


def known_client(ask: dict[str, str]) -> None:
    if ask.get("client_id") not in clients:
        raise OAuthError("invalid_request", "No program is registered under this client_id.")


def exact_redirect_uri(ask: dict[str, str]) -> None:
    """OAuth 2.1 §2.3.1: compared as text."""
    registered = map(without_loopback_port, clients[ask["client_id"]]["redirect_uris"])
    if without_loopback_port(ask.get("redirect_uri", "")) not in registered:
        raise OAuthError("invalid_request", "The redirect_uri is not one that the program registered.")


def without_loopback_port(uri: str) -> str:
    """A program on this computer learns its port when it starts: RFC 8252 §7.3, OAuth 2.1 §4.1.1."""
    return re.sub(rf"^(http://{LOOPBACK}):[0-9]{{1,5}}(?=[/?]|\Z)", r"\1", uri)


SHOW_THE_USER = (known_client, exact_redirect_uri)  # not yet safe to redirect: OAuth 2.1 §4.1.2.1


def code_response(ask: dict[str, str]) -> None:
    if ask.get("response_type") != "code":
        error = "unsupported_response_type" if "response_type" in ask else "invalid_request"
        raise OAuthError(error, "response_type must be code")  # OAuth 2.1 §4.1.1


def s256_challenge(ask: dict[str, str]) -> None:
    sha256 = re.fullmatch(r"[A-Za-z0-9_-]{43}", ask.get("code_challenge", ""))
    if ask.get("code_challenge_method") != "S256" or not sha256:
        why = "code_challenge must be 43 characters, and code_challenge_method S256"
        raise OAuthError("invalid_request", why)  # RFC 7636 §4.4.1


def names_a_resource(ask: dict[str, str]) -> None:
    if "resource" not in ask:
        raise OAuthError("invalid_target", "resource must name a server we make tokens for")  # RFC 8707 §2


def registered_scope(ask: dict[str, str]) -> None:
    if not set(ask["scope"].split(" ")) <= set(clients[ask["client_id"]]["scope"].split()):
        raise OAuthError("invalid_scope", "scope must stay within what is registered")  # OAuth 2.1 §4.1.2.1


TELL_THE_CLIENT = (  # from here on, errors travel home
    code_response,
    s256_challenge,
    names_a_resource,
    registered_scope,
)


def still_fresh(grant: dict, ask: dict[str, str]) -> None:
    if time.time() > grant["expires_at"]:
        raise OAuthError("invalid_grant", "the code has expired")  # OAuth 2.1 §4.1.2


def same_redirect_uri(grant: dict, ask: dict[str, str]) -> None:
    if ask.get("redirect_uri", grant["redirect_uri"]) != grant["redirect_uri"]:
        raise OAuthError("invalid_grant", "redirect_uri has changed")  # OAuth 2.1 §10.2


def s256_verifier(grant: dict, ask: dict[str, str]) -> None:
    verifier = ask.get("code_verifier", "")
    if not re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", verifier):
        raise OAuthError("invalid_grant", "code_verifier must be 43 to 128 characters")  # RFC 7636 §4.1
    digest = hashlib.sha256(verifier.encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=")
    if not hmac.compare_digest(challenge, grant["code_challenge"].encode()):
        raise OAuthError("invalid_grant", "code_verifier does not fit code_challenge")  # RFC 7636 §4.6


def same_resource(grant: dict, ask: dict[str, str]) -> None:
    if ask.get("resource", grant["resource"]) != grant["resource"]:
        raise OAuthError("invalid_target", "resource is not the one that was allowed")  # RFC 8707 §2.2


CODE_RULES = (
    still_fresh,
    same_redirect_uri,
    s256_verifier,
    same_resource,
)

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
        "authorization_response_iss_parameter_supported": True,
        "protected_resources": RESOURCES,
    }
    return JSONResponse(about_us, headers=CACHEABLE)


async def register(request: Request) -> Response:
    """RFC 7591 §3.1: a client says who it is and gets a name, on our terms."""
    metadata = REGISTRABLE | await read_json(request, "invalid_client_metadata")
    for rule in REGISTRATION_RULES:
        rule(metadata)
    client = {name: metadata[name] for name in REGISTRABLE}  # the rest is ignored, as the answer shows
    client |= {"client_id": secrets.token_urlsafe(16), "client_id_issued_at": int(time.time())}
    client |= {"grant_types": ["authorization_code"]}
    client |= {"scope": " ".join(scope for scope in SCOPES if scope in metadata["scope"].split(" "))}
    if client["token_endpoint_auth_method"] != "none":
        client |= {"client_secret": secrets.token_urlsafe(32), "client_secret_expires_at": 0}
    clients[client["client_id"]] = client
    return JSONResponse(client, 201, NO_STORE)  # RFC 7591 §3.2.1


async def authorize(request: Request) -> Response:
    """OAuth 2.1 §4.1.1: a browser brings a client's request; the person decides."""
    pairs = request.query_params.multi_items()
    ask = once_each(pairs, ("client_id", "redirect_uri"))
    for rule in SHOW_THE_USER:
        rule(ask)
    try:
        ask |= once_each(pairs, ("state",))
        ask |= {"scope": clients[ask["client_id"]]["scope"]} | once_each(pairs, ASK_NAMES)
        for rule in TELL_THE_CLIENT:
            rule(ask)
    except OAuthError as no:
        return back_to_client(ask, error=no.error, error_description=no.why)
    request_id = secrets.token_urlsafe(32)
    asks[request_id] = ask
    return consent_page(request_id, ask["scope"].split())


def consent_page(request_id: str, ticked: list[str], problem: str = "", status: int = 200) -> Response:
    ask = asks[request_id]
    return page(
        "consent.html",
        status,
        ON_PAGES,
        request=request_id,
        problem=problem,
        people=PEOPLE,
        client_name=clients[ask["client_id"]]["client_name"].strip() or REGISTRABLE["client_name"],
        resource=ask["resource"],
        redirect_host=urlsplit(ask["redirect_uri"]).netloc,
        redirect_is_local=ask["redirect_uri"].startswith("http://"),
        scopes={scope: SCOPES[scope] for scope in ask["scope"].split()},
        ticked=ticked,
    )


async def consent(request: Request) -> Response:
    """The person has answered: who they are, and how much they allow."""
    pairs = await read_form(request)
    answer = once_each(pairs, ("request", "decision", "username", "password"))
    request_id, username = answer.get("request", ""), answer.get("username", "")
    if request_id not in asks:
        raise OAuthError("invalid_request", "This page has been answered already, or never was.")
    wanted = asks[request_id]["scope"].split()
    allowed = [scope for scope in SCOPES if scope in wanted and ("scope", scope) in pairs]
    if answer.get("decision") != "allow" or not allowed:
        no = {"error": "access_denied", "error_description": "the user did not allow it"}
        return back_to_client(asks.pop(request_id), **no)
    password = PEOPLE.get(username, secrets.token_urlsafe())
    if not hmac.compare_digest(answer.get("password", "").encode(), password.encode()):
        return consent_page(request_id, allowed, "This name and this password do not belong together.", 403)
    code = secrets.token_urlsafe(32)
    about = {"subject": username, "scope": " ".join(allowed), "expires_at": time.time() + CODE_LIFETIME}
    grants[code] = asks.pop(request_id) | about  # popped: one page, one answer
    return back_to_client(grants[code], code=code)


async def token(request: Request) -> Response:
    """OAuth 2.1 §3.2: a grant comes in, a token goes out."""
    ask = once_each(await read_form(request), GRANT_NAMES)
    client = authenticated_client(request, ask)
    if ask.get("grant_type") not in GRANT_TYPES:
        error = "unsupported_grant_type" if "grant_type" in ask else "invalid_request"
        raise OAuthError(error, f"grant_type must be one of: {', '.join(GRANT_TYPES)}")  # OAuth 2.1 §3.2.4
    return JSONResponse(GRANT_TYPES[ask["grant_type"]](client, ask), headers=NO_STORE)


def authenticated_client(request: Request, ask: dict[str, str]) -> dict:
    methods = ("authorization" in request.headers) + ("client_assertion" in ask) + ("client_secret" in ask)
    if methods > 1:
        raise OAuthError("invalid_request", "authenticate in one way, not in several")  # OAuth 2.1 §3.2.4
    if methods and "client_secret" not in ask:
        raise OAuthError("invalid_client", "a secret is read from the form only: client_secret_post", 401)
    client = clients.get(ask.get("client_id", ""))  # an unknown client is compared too, and takes as long
    secret = client.get("client_secret", "") if client else secrets.token_urlsafe()
    if not hmac.compare_digest(ask.get("client_secret", "").encode(), secret.encode()):
        raise OAuthError("invalid_client", "client authentication failed", 401)  # OAuth 2.1 §3.2.4
    return client


# ── tokens ────────────────────────────────────────────────────────────────────


def redeem_code(client: dict, ask: dict[str, str]) -> dict:
    """OAuth 2.1 §4.1.3: a code works once, and only for the client it was given to."""
    grant = grants.get(ask.get("code", ""))
    if grant is None or grant["client_id"] != client["client_id"]:
        raise OAuthError("invalid_grant", "there is no such code for this client")
    del grants[ask["code"]]  # before the rules: whoever fails one of them has used up the code
    for rule in CODE_RULES:
        rule(grant, ask)
    return {
        "access_token": access_token(grant),
        "token_type": "Bearer",
        "expires_in": TOKEN_LIFETIME,
        "scope": grant["scope"],
    }


GRANT_TYPES = {
    "authorization_code": redeem_code,
}


def access_token(grant: dict) -> str:
    """RFC 9068 §2: who made it, for whose door, on whose behalf, until when."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": grant["resource"],  # RFC 9068 §3
        "sub": grant["subject"],
        "client_id": grant["client_id"],
        "scope": grant["scope"],
        "iat": now,
        "exp": now + TOKEN_LIFETIME,
        "jti": secrets.token_urlsafe(16),
    }
    return jwt.encode(claims, signing_key, "RS256", {"typ": "at+jwt"})


# ── the app ───────────────────────────────────────────────────────────────────

app = Starlette(
    routes=[
        HEALTH,
        Route("/.well-known/oauth-authorization-server", server_metadata),
        Route("/register", register, methods=["POST"]),
        Route("/authorize", authorize),
        Route("/consent", consent, methods=["POST"]),
        Route("/token", token, methods=["POST"]),
        STYLE,
    ],
    exception_handlers={OAuthError: refuse, BadBody: refuse},
)
app.router.redirect_slashes = False  # a 307 would post the password once more: RFC 9700 §4.12

if __name__ == "__main__":
    serve(app, ISSUER)
