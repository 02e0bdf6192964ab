"""A request waits for a person: in which browser, signed in as whom, and how what they allow travels home."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from shared.audit import write_down

from .context import AuthServer, OAuthError, server_of
from .database import sha256
from .directory import Session
from .parameters import OFFLINE_ACCESS, Known
from .rendering import ON_PAGES
from .settings import Settings
from .storage import Ask, Grant

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
    await server.store.ask(server.store.add_ask, waiting.request_id, asked, shown_to, time.time() + lifetime)
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
    """`__Host-…` keeps neighbours from planting one, but that takes TLS."""
    return f"__Host-{name}" if settings.secure else name


def go_to(settings: Settings, place: str) -> Response:
    """To another page of ours."""
    return RedirectResponse(settings.path + place, 303, ON_PAGES)


# ── what is allowed ───────────────────────────────────────────────────────────────────────────────


def told_apart(asked: dict[str, str]) -> bool:
    """Any program on this computer can call itself like one that was allowed: OAuth 2.1 §7.3.1."""
    return asked["redirect_uri"].startswith("https://") and not asked["client_id"].startswith("http://")


def not_told_to_ask(asked: dict[str, str], allowed: list[str]) -> bool:
    return "consent" not in asked.get("prompt", "").split(" ")  # OpenID Connect Core §3.1.2.1


def allowed_before(asked: dict[str, str], allowed: list[str]) -> bool:
    return set(asked["scope"].split(" ")) <= set(allowed)


REMEMBERED = (told_apart,)  # which consents are kept, and count later
HOME_AT_ONCE = (not_told_to_ask, allowed_before)  # who of those need not be asked the same again


def stays_on_this_computer(asked: dict[str, str]) -> None:
    """Nobody has signed in yet: a stranger's link must not use us to send people to a stranger's page."""
    if not asked["redirect_uri"].startswith("http://"):  # which only a loopback host may have
        host = urlsplit(asked["redirect_uri"]).netloc
        why = f"It came from {host}, and ends here: we send nobody there who has not signed in."
        raise OAuthError("access_denied", why)  # OAuth 2.1 §7.12.2


BEFORE_SIGNING_IN = (stays_on_this_computer,)


def back_to_client(settings: Settings, asked: dict[str, str], **answer: str) -> Response:
    """Every answer to an authorization request says who sends it, and repeats `state` if there was one."""
    if "error" in answer:
        write_down(outcome="refused", reason=f"{answer['error']}: {answer['error_description']}")
    answer |= {"iss": settings.issuer} | ({"state": asked["state"]} if "state" in asked else {})  # RFC 9207 §2
    url = asked["redirect_uri"] + ("&" if "?" in asked["redirect_uri"] else "?") + urlencode(answer)
    return RedirectResponse(url, 303, ON_PAGES)  # RFC 9700 §4.12


def may_send_home(asked: dict[str, str]) -> None:
    """Raises `OAuthError` if only those who have signed in may be sent there."""
    for rule in BEFORE_SIGNING_IN:
        rule(asked)


async def need_not_ask(waiting: Waiting) -> bool:
    """Whether this person has allowed this before, and a page would only tire them."""
    asked, store = waiting.asked, waiting.server.store
    if not is_remembered(asked):
        return False
    who = waiting.session.username, asked["client_id"], asked["resource"]
    allowed = await store.ask(store.consent, *who)
    return all(rule(asked, allowed) for rule in HOME_AT_ONCE)


def is_remembered(asked: dict[str, str]) -> bool:
    return all(rule(asked) for rule in REMEMBERED)


async def allow(waiting: Waiting, scope: str) -> Response:
    """One page, one answer: the code travels home. Raises `OAuthError` if somebody else was faster."""
    server, asked, session = waiting.server, waiting.asked, waiting.session
    settings, now, code = server.settings, time.time(), secrets.token_urlsafe(32)
    write_down(who=session.username)
    grant = Grant(
        grant_id=secrets.token_urlsafe(16),
        client_id=asked["client_id"],
        subject=session.username,
        resource=asked["resource"],
        scope=scope,
        auth_time=session.auth_time,
        expires_at=now + settings.code_lifetime + settings.token_lifetime,  # of the last token, if nobody refreshes
        offline=OFFLINE_ACCESS in scope.split() or OFFLINE_ACCESS not in asked["scope"].split(),
    )
    about = {"code": code, "redirect_uri": asked["redirect_uri"], "code_challenge": asked["code_challenge"]}
    about |= {"expires_at": now + settings.code_lifetime}
    if not await server.store.ask(server.store.answer_ask, waiting.request_id, grant, about, now, is_remembered(asked)):
        raise OAuthError("invalid_request", ANSWERED)
    return leave(waiting, back_to_client(settings, asked, code=code))


async def deny(waiting: Waiting) -> Response:
    """Somebody said no, which takes no password. Raises `OAuthError` if somebody else was faster."""
    if waiting.session is None:
        may_send_home(waiting.asked)
    store = waiting.server.store
    if not await store.ask(store.drop_ask, waiting.request_id):
        raise OAuthError("invalid_request", ANSWERED)
    no = {"error": "access_denied", "error_description": "the user did not allow it"}
    return leave(waiting, back_to_client(waiting.server.settings, waiting.asked, **no))


def leave(waiting: Waiting, onwards: Response) -> Response:
    give(onwards, waiting.server.settings, waiting.cookie, "", 0)
    return onwards
