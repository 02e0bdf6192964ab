"""Step 07 · what a patient attacker tries next, and why it does not work.

The authorization server: it knows clients, asks people and makes tokens; it never sees an MCP request.
"""

import hmac
import re
import secrets
import time
from urllib.parse import urlencode, urlsplit

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from shared.addresses import ISSUER
from shared.bodies import BadBody, read_form
from shared.pages import STYLE, page
from shared.serving import HEALTH, serve

from .clients import (
    AUTH_METHODS,
    LOOPBACK,
    NO_STORE,
    REGISTRABLE,
    SCOPES,
    OAuthError,
    clients,
    once_each,
    register,
)
from .hardening import Hardened, write_down
from .tokens import (
    CODE_LIFETIME,
    GRANT_TYPES,
    RESOURCES,
    forget_the_old,
    grants,
    jwks,
    names_a_resource,
    registered_scope,
    revoke,
    token,
)

# ── what we remember ──────────────────────────────────────────────────────────

CACHEABLE = {"Cache-Control": "public, max-age=3600"}
ON_PAGES = NO_STORE | {"Referrer-Policy": "no-referrer"}
ON_PAGES |= {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Frame-Options": "DENY",  # RFC 9700 §4.16
    "X-Content-Type-Options": "nosniff",
}
ASK_LIFETIME = 600  # seconds
PEOPLE = {"alice": "wonderland", "bob": "builder"}  # the page shows the passwords, as a demo may
ASK_NAMES = "response_type client_id redirect_uri scope state resource code_challenge code_challenge_method".split()
asks: dict[str, dict[str, str]] = {}  # what clients asked and no person has answered yet, by request id

# ── how we say no ─────────────────────────────────────────────────────────────


async def refuse(request: Request, no: OAuthError | BadBody) -> Response:
    """The one place where a no becomes HTTP."""
    write_down(reason=f"{no.error}: {no.why}")
    if request.url.path in ("/authorize", "/consent"):
        return page("refusal.html", no.status, ON_PAGES, error=no.error, why=no.why)
    basic = no.status == 401 and "authorization" in request.headers
    headers = NO_STORE | ({"WWW-Authenticate": 'Basic realm="token"'} if basic else {})  # OAuth 2.1 §3.2.4
    return JSONResponse({"error": no.error, "error_description": no.why}, no.status, headers)


def back_to_client(ask: dict[str, str], **answer: str) -> Response:
    """Every answer to an authorization request says who sends it, and repeats `state` if there was one."""
    if "error" in answer:
        write_down(outcome="refused", reason=f"{answer['error']}: {answer['error_description']}")
    answer |= {"iss": ISSUER} | ({"state": ask["state"]} if "state" in ask else {})  # RFC 9207 §2
    url = ask["redirect_uri"] + ("&" if "?" in ask["redirect_uri"] else "?") + urlencode(answer)
    return RedirectResponse(url, 303, ON_PAGES)  # RFC 9700 §4.12


# ── rules ─────────────────────────────────────────────────────────────────────


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


TELL_THE_CLIENT = (  # from here on, errors travel home
    code_response,
    s256_challenge,
    names_a_resource,
    registered_scope,
)


def stays_on_this_computer(ask: dict[str, str]) -> None:
    """Nobody has signed in yet: a stranger's link must not use us to send people to a stranger's page."""
    if not ask["redirect_uri"].startswith("http://"):  # which only a loopback host may have
        host = urlsplit(ask["redirect_uri"]).netloc
        why = f"It came from {host}, and ends here: we send nobody there who has not signed in."
        raise OAuthError("access_denied", why)  # OAuth 2.1 §7.12.2


BEFORE_SIGNING_IN = (
    stays_on_this_computer,
)


def still_open(ask: dict, request: Request) -> None:
    if time.time() > ask["expires_at"]:
        raise OAuthError("invalid_request", "This page is too old. Start again in the program you came from.")


def same_browser(ask: dict, request: Request) -> None:
    """RFC 6749 §10.12: whoever was shown the page answers it, in the same browser."""
    shown_to = request.cookies.get(ask["cookie"], "")
    if not hmac.compare_digest(shown_to.encode(), ask["browser"].encode()):
        raise OAuthError("invalid_request", "This page was shown in another browser.")


CONSENT_RULES = (
    still_open,
    same_browser,
)

# ── endpoints ─────────────────────────────────────────────────────────────────


async def server_metadata(_: Request) -> Response:
    """RFC 8414 §2: what this server can do."""
    about_us = {
        "issuer": ISSUER,
        "authorization_endpoint": f"{ISSUER}/authorize",
        "token_endpoint": f"{ISSUER}/token",
        "response_types_supported": ["code"],
        "grant_types_supported": list(GRANT_TYPES),
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": AUTH_METHODS,
        "registration_endpoint": f"{ISSUER}/register",
        "scopes_supported": list(SCOPES),
        "authorization_response_iss_parameter_supported": True,
        "jwks_uri": f"{ISSUER}/jwks",
        "revocation_endpoint": f"{ISSUER}/revoke",
        "revocation_endpoint_auth_methods_supported": AUTH_METHODS,
        "protected_resources": RESOURCES,
    }
    return JSONResponse(about_us, headers=CACHEABLE)


async def authorize(request: Request) -> Response:
    """OAuth 2.1 §4.1.1: a browser brings a client's request; the person decides."""
    pairs = request.query_params.multi_items()
    ask = once_each(pairs, ("client_id", "redirect_uri"))
    for rule in SHOW_THE_USER:
        rule(ask)
    write_down(client=ask["client_id"])
    try:
        ask |= once_each(pairs, ("state",))
        ask |= {"scope": clients[ask["client_id"]]["scope"]} | once_each(pairs, ASK_NAMES)
        for rule in TELL_THE_CLIENT:
            rule(ask)
    except OAuthError as no:
        for rule in BEFORE_SIGNING_IN:
            rule(ask)
        return back_to_client(ask, error=no.error, error_description=no.why)
    forget_the_old(asks)
    request_id = secrets.token_urlsafe(32)
    asks[request_id] = ask | {"expires_at": time.time() + ASK_LIFETIME} | this_browser()
    answer = consent_page(request_id, ask["scope"].split())
    cookie, value = asks[request_id]["cookie"], asks[request_id]["browser"]
    answer.set_cookie(cookie, value, ASK_LIFETIME, httponly=True, samesite="lax", secure=ISSUER.startswith("https"))
    return answer


def this_browser() -> dict[str, str]:
    """A new cookie for every page. Its name `__Host-…` keeps neighbours from planting one, but that takes TLS."""
    prefix = "__Host-" if ISSUER.startswith("https") else ""
    return {"cookie": f"{prefix}consent-{secrets.token_hex(8)}", "browser": secrets.token_urlsafe(32)}


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
    for rule in CONSENT_RULES:
        rule(asks[request_id], request)
    write_down(client=asks[request_id]["client_id"])
    wanted = asks[request_id]["scope"].split()
    allowed = [scope for scope in SCOPES if scope in wanted and ("scope", scope) in pairs]
    if answer.get("decision") != "allow" or not allowed:
        no = {"error": "access_denied", "error_description": "the user did not allow it"}
        ask = asks.pop(request_id)
        for rule in BEFORE_SIGNING_IN:  # to say no takes no password
            rule(ask)
        return back_to_client(ask, **no)
    password = PEOPLE.get(username, secrets.token_urlsafe())
    if not hmac.compare_digest(answer.get("password", "").encode(), password.encode()):
        write_down(reason="wrong password", **({"who": username} if username in PEOPLE else {}))
        return consent_page(request_id, allowed, "This name and this password do not belong together.", 403)
    write_down(who=username)
    code = secrets.token_urlsafe(32)
    about = {"subject": username, "scope": " ".join(allowed), "expires_at": time.time() + CODE_LIFETIME}
    about["family"] = secrets.token_urlsafe(16)  # of all that will ever come of this consent
    grants[code] = asks.pop(request_id) | about  # popped: one page, one answer
    home = back_to_client(grants[code], code=code)
    home.delete_cookie(grants[code]["cookie"])
    return home


# ── the app ───────────────────────────────────────────────────────────────────

app = Starlette(
    routes=[
        HEALTH,
        Route("/.well-known/oauth-authorization-server", server_metadata),
        Route("/register", register, methods=["POST"]),
        Route("/authorize", authorize),
        Route("/consent", consent, methods=["POST"]),
        Route("/token", token, methods=["POST"]),
        Route("/jwks", jwks),
        Route("/revoke", revoke, methods=["POST"]),
        STYLE,
    ],
    middleware=[Middleware(Hardened, own=ISSUER)],
    exception_handlers={OAuthError: refuse, BadBody: refuse},
)
app.router.redirect_slashes = False  # a 307 would post the password once more: RFC 9700 §4.12

if __name__ == "__main__":
    serve(app, ISSUER)
