"""A request waits for a person: in which browser, and signed in as whom."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from shared.audit import write_down

from .context import AuthServer, OAuthError, server_of
from .database import sha256
from .directory import Session
from .parameters import Known
from .rendering import ON_PAGES
from .settings import Settings
from .storage import Ask

ANSWERED = "This page has been answered already, or never was."


@dataclass(frozen=True)
class Waiting:
    """A request that waits for a person, and the browser in which they look at it."""

    request: Request
    request_id: str
    asked: dict[str, str]  # the parameters of OAuth 2.1 §4.1.1; none if they only want to see their account
    session: Session | None
    known: Known | None = None  # what the rules looked at, if it was for this very request

    @property
    def server(self) -> AuthServer:
        return server_of(self.request)

    @property
    def cookie(self) -> str:
        """Each page has its own, so that two tabs do not answer for each other."""
        return f"consent-{sha256(self.request_id).hex()[:16]}"


def still_open(ask: Ask, shown_to: str) -> None:
    if time.time() > ask.expires_at:
        raise OAuthError("invalid_request", "This page is too old. Start again in the program you came from.")


def same_browser(ask: Ask, shown_to: str) -> None:
    """RFC 6749 §10.12: whoever was shown the page answers it, in the same browser."""
    if not hmac.compare_digest(sha256(shown_to), ask.browser_hash):
        raise OAuthError("invalid_request", "This page was shown in another browser.")


CONSENT_RULES = (still_open, same_browser)


def own_form(session_id: str, form: str) -> None:
    """A form of a page that this session was shown: no other page, and nobody who was signed in before."""
    if not hmac.compare_digest(form_of(session_id).encode(), form.encode()):
        raise OAuthError("invalid_request", "Somebody else was signed in when this page was made. Look again.", 403)


FORM_RULES = (own_form,)


async def ask_somebody(
    request: Request,
    asked: dict[str, str],
    session: Session | None,
    show: Callable[[Waiting], Awaitable[Response]],
    known: Known | None = None,
) -> Response:
    """Keep a request until somebody answers its page, in the browser that is shown it now."""
    waiting, shown_to = Waiting(request, secrets.token_urlsafe(32), asked, session, known), secrets.token_urlsafe(32)
    server, lifetime = waiting.server, waiting.server.settings.ask_lifetime
    until = time.time() + lifetime
    keep_until = until + server.settings.code_lifetime  # so that its code can be redeemed
    await server.store.ask(server.store.add_ask, waiting.request_id, asked, shown_to, until, keep_until)
    answer = await show(waiting)
    if answer.status_code == 200:
        give(answer, server.settings, waiting.cookie, shown_to, lifetime)
    return answer


async def open_ask(request: Request, answer: dict[str, str], of_a_client: bool = True) -> Waiting:
    """Raises `OAuthError` unless this browser was shown it, and nobody has answered."""
    store, request_id = server_of(request).store, answer.get("request", "")
    ask = await store.ask(store.find_ask, request_id)
    if ask is None or of_a_client and not ask.asked:
        raise OAuthError("invalid_request", ANSWERED)
    waiting = Waiting(request, request_id, ask.asked, await session_of(request))
    for rule in CONSENT_RULES:
        rule(ask, cookie_in(request, waiting.cookie))
    if ask.asked:
        write_down(client=ask.asked["client_id"])
    return waiting


async def session_of(request: Request) -> Session | None:
    """Whoever has signed in."""
    server, session_id = server_of(request), cookie_in(request, "session")
    if not session_id:
        return None
    return await server.directory.ask(server.directory.session, session_id, time.time())


async def begin_session(request: Request, answer: Response, username: str) -> None:
    """A new one, whatever the browser had before: nobody can have planted it."""
    await end_session(request)
    server, now, session_id = server_of(request), time.time(), secrets.token_urlsafe(32)
    session = Session(username, now, now + server.settings.session_lifetime)
    await server.directory.ask(server.directory.add_session, session_id, session)
    give(answer, server.settings, "session", session_id, server.settings.session_lifetime)


async def end_session(request: Request) -> None:
    directory = server_of(request).directory
    if session_id := cookie_in(request, "session"):
        await directory.ask(directory.drop_session, session_id)


def form_of(session_id: str) -> str:
    """What the forms of this session hold. Another website can neither read nor guess it."""
    return hmac.new(session_id.encode(), b"a form of ours", hashlib.sha256).hexdigest()


def check_form(request: Request, answer: dict[str, str]) -> None:
    for rule in FORM_RULES:
        rule(cookie_in(request, "session"), answer.get("form", ""))


def cookie_in(request: Request, name: str) -> str:
    return request.cookies.get(full_name(server_of(request).settings, name), "")


def give(answer: Response, settings: Settings, name: str, value: str, lifetime: int) -> None:
    """A cookie for so many seconds; for none to take it back."""
    name = full_name(settings, name)
    answer.set_cookie(name, value, lifetime, httponly=True, samesite="lax", secure=settings.secure)


def full_name(settings: Settings, name: str) -> str:
    """`__Host-…` keeps neighbours from planting one, but that takes TLS. Issuers of one host have their own each."""
    name = f"{sha256(settings.path).hex()[:8]}-{name}" if settings.path else name
    return f"__Host-{name}" if settings.secure else name


def go_to(settings: Settings, place: str) -> Response:
    """To another page of ours."""
    return RedirectResponse(settings.path + place, 303, ON_PAGES)
