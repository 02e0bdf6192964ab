"""What a person allows: remembered where that is safe, and sent home to the client as a code."""

import secrets
import time
from urllib.parse import urlencode, urlsplit

from starlette.responses import RedirectResponse, Response

from shared.audit import write_down

from .browsers import ANSWERED, Waiting, give
from .context import OAuthError
from .parameters import OFFLINE_ACCESS
from .rendering import ON_PAGES
from .settings import Settings
from .storage import Grant


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
