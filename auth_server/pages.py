"""Where people answer: sign in, look, decide, and later take it back. OAuth 2.1 §7.3, RFC 7591 §5."""

import time
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from shared.audit import write_down
from shared.bodies import read_form

from . import browsers
from .accounts import as_name
from .browsers import Waiting, open_ask
from .consents import allow, deny, leave, need_not_ask
from .context import AuthServer, OAuthError, server_of
from .demo import PEOPLE
from .directory import Resource
from .parameters import OFFLINE_ACCESS, Known, find_client, known_to, once_each
from .registration import REGISTRABLE
from .rendering import page
from .storage import Client

KNOWN_FROM = {
    "dynamic": "It registered itself; its name is not verified.",
    "operator": "The operator of this server registered it.",
    "document": "Its document is at {}; its name is not verified.",
}
LOCAL_PROGRAM = "This is a program on this computer: any of them could call itself so. Allow it only if you started it."
LOCAL_DOCUMENTS = (
    "This server believes documents on this very computer, a setting for development: "
    "any program here could have published one."
)

# ── what is shown ─────────────────────────────────────────────────────────────────────────────────


async def next_page(waiting: Waiting) -> Response:
    """What comes next for a request: to sign in, to decide, or home with what was allowed before."""
    if waiting.session is None:
        return await login_page(waiting)
    if await need_not_ask(waiting):
        return await allow(waiting, waiting.asked["scope"])
    return await consent_page(waiting)


async def login_page(waiting: Waiting, status: int = 200, problem: str = "") -> Response:
    return page(
        waiting.server.settings,
        "login.html",
        status,
        request=waiting.request_id,
        problem=problem,
        client_name=name_of((await known_of(waiting)).client) if waiting.asked else "",
        people=PEOPLE if waiting.server.settings.demo else {},
    )


async def consent_page(
    waiting: Waiting, ticked: Collection[str] | None = None, problem: str = "", status: int = 200
) -> Response:
    """Who asks, for what, where the answer goes, and what of it nobody has verified."""
    asked, known, settings = waiting.asked, await known_of(waiting), waiting.server.settings
    resource, wanted, kind = known.resources[asked["resource"]], asked["scope"].split(), known.client.kind
    warnings = [LOCAL_PROGRAM] if asked["redirect_uri"].startswith("http://") else []
    warnings += [LOCAL_DOCUMENTS] if kind == "document" and settings.loopback_documents else []
    return page(
        settings,
        "consent.html",
        status,
        request=waiting.request_id,
        form=browsers.form_of(browsers.cookie_in(waiting.request, "session")),
        problem=problem,
        username=waiting.session.username,
        client_name=name_of(known.client),
        known_from=KNOWN_FROM[kind].format(urlsplit(asked["client_id"]).netloc),
        warnings=warnings,
        resource=resource,
        redirect_host=urlsplit(asked["redirect_uri"]).netloc,
        scopes={scope: words for scope, words in sentences(resource).items() if scope in wanted},
        ticked=wanted if ticked is None else ticked,
    )


async def known_of(waiting: Waiting) -> Known:
    """Raises `OAuthError` if an operator has removed the client or the resource meanwhile."""
    if waiting.known:
        return waiting.known
    known = await known_to(waiting.server, await find_client(waiting.request, waiting.asked["client_id"]))
    if known.client is None or waiting.asked["resource"] not in known.resources:
        raise OAuthError("invalid_request", "What this page asks about is gone.")
    return known


def name_of(client: Client) -> str:
    return client.registered.get("client_name", "").strip() or REGISTRABLE["client_name"]


def sentences(resource: Resource) -> dict[str, str]:
    """What each scope means, in the words of its resource."""
    return resource.scopes | {OFFLINE_ACCESS: "Stay connected when you are away"}


# ── what is answered ──────────────────────────────────────────────────────────────────────────────


async def login(request: Request) -> Response:
    """Who they are. What they are asked afterwards is on another page."""
    server = server_of(request)
    answer = once_each(await read_form(request), ("request", "decision", "username", "password"))
    waiting, username = await open_ask(request, answer, of_a_client=False), as_name(answer.get("username", ""))
    if waiting.asked and answer.get("decision") == "deny":
        return await deny(waiting)
    whose, right = f"password of {username}", None
    server.guessed(whose)  # before we look: of a thousand guesses at once all count
    try:
        right = await server.accounts.check(username, answer.get("password", ""))
    finally:
        if right is not False:  # or we were too busy to look
            server.guesses.take_back(whose)
    if not right:
        known = await server.directory.ask(server.directory.password_hash, username)
        write_down(reason="wrong password", **({"who": username} if known else {}))  # if not, it may be a password
        return await login_page(waiting, 403, "This name and this password do not belong together.")
    write_down(who=username)
    onwards = browsers.go_to(server.settings, f"/consent?request={waiting.request_id}" if waiting.asked else "/account")
    await browsers.begin_session(request, onwards, username)
    if not waiting.asked and await server.store.ask(server.store.drop_ask, waiting.request_id):
        leave(waiting, onwards)
    return onwards


async def look(request: Request) -> Response:
    """The page once more: after signing in, or reloaded."""
    return await next_page(await open_ask(request, once_each(request.query_params.multi_items(), ("request",))))


async def decide(request: Request) -> Response:
    """The person has decided, and how much they allow."""
    pairs = await read_form(request)
    answer = once_each(pairs, ("request", "decision", "form"))
    waiting = await open_ask(request, answer)
    ticked = [scope for scope in waiting.asked["scope"].split() if ("scope", scope) in pairs]  # asked for, and no more
    if answer.get("decision") != "allow" or not set(ticked) - {OFFLINE_ACCESS}:
        return await deny(waiting)
    if waiting.session is None:
        return await login_page(waiting, 403, "Sign in first.")
    try:
        browsers.check_form(request, answer)
    except OAuthError as no:
        return await consent_page(waiting, ticked, no.why, 403)
    return await allow(waiting, " ".join(ticked))


async def logout(request: Request) -> Response:
    """Nobody is signed in here any more. With a request, its page asks who else there is."""
    settings, place = server_of(request).settings, "/account"
    answer = once_each(await read_form(request), ("request", "form"))
    if "request" in answer:
        place = f"/consent?request={(await open_ask(request, answer)).request_id}"
    onwards = browsers.go_to(settings, place)
    if await browsers.session_of(request):
        browsers.check_form(request, answer)
        await browsers.end_session(request)
        browsers.give(onwards, settings, "session", "", 0)
    return onwards


async def account(request: Request) -> Response:
    """Whoever is not signed in does that first, and comes back."""
    server, session = server_of(request), await browsers.session_of(request)
    if session is None:
        return await browsers.ask_somebody(request, {}, None, login_page)
    resources = await server.directory.ask(server.directory.resources)
    allowed = await server.directory.ask(server.directory.allowed_by, session.username, time.time())
    consents = [await in_words(server, one, resources) for one in allowed]
    form = browsers.form_of(browsers.cookie_in(request, "session"))
    return page(server.settings, "account.html", form=form, username=session.username, consents=consents)


async def withdraw(request: Request) -> Response:
    """One client at one resource: what it was given works no more, and it has to ask again."""
    server, session = server_of(request), await browsers.session_of(request)
    answer = once_each(await read_form(request), ("client_id", "resource", "form"))
    if session:
        browsers.check_form(request, answer)
        client_id, resource = answer.get("client_id", ""), answer.get("resource", "")
        write_down(who=session.username)
        if await server.store.ask(server.store.withdraw, session.username, client_id, resource, time.time()):
            write_down(client=client_id, withdrawn=resource)
    return browsers.go_to(server.settings, "/account")


async def in_words(server: AuthServer, one: dict[str, Any], resources: dict[str, Resource]) -> dict[str, Any]:
    """A document is not fetched for this page: its host stands for its name."""
    client = await server.store.ask(server.store.client, one["client_id"])
    resource = resources.get(one["resource"]) or Resource(one["resource"], one["resource"], {})
    words = sentences(resource)
    return one | {
        "client_name": name_of(client) if client else urlsplit(one["client_id"]).netloc or "a program that is gone",
        "resource_name": resource.name,
        "scopes": [words.get(scope, scope) for scope in one["scope"].split()],
        "since": time.strftime("%d %B %Y", time.gmtime(one["given_at"])),
    }
