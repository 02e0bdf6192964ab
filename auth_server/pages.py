"""Where people answer: sign in, look, decide, and later take it back."""

import time
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from shared.audit import write_down
from shared.bodies import read_form

from . import browsers
from .browsers import Waiting, open_ask
from .consents import allow, deny, leave
from .context import AuthServer, server_of
from .directory import Resource
from .errors import OAuthError
from .parameters import once_each
from .rendering import page
from .views import OFFLINE, consent_page, login_page, name_of, next_page, sentences


async def login(request: Request) -> Response:
    """Who they are. What they are asked afterwards is on another page."""
    server = server_of(request)
    answer = once_each(await read_form(request), ("request", "decision", "username", "password"))
    waiting, username = await open_ask(request, answer.get("request", "")), answer.get("username", "")
    if waiting.asked:
        write_down(client=waiting.asked["client_id"])
        if answer.get("decision") == "deny":
            return await deny(waiting)
    if not await knows_password(server, username, answer.get("password", "")):
        write_down(reason="wrong password", **await who_if_known(server, username))
        return await login_page(waiting, 403, "This name and this password do not belong together.")
    write_down(who=username)
    onwards = browsers.go_to(server.settings, f"/consent?request={waiting.request_id}" if waiting.asked else "/account")
    await browsers.begin_session(request, onwards, username)
    if not waiting.asked and await server.store.ask(server.store.drop_ask, waiting.request_id):
        leave(waiting, onwards)
    return onwards


async def knows_password(server: AuthServer, username: str, password: str) -> bool:
    """Counted before we look, because a thousand guesses at once all come too early; whether the name exists or not."""
    server.guessed(f"password of {username}")
    right = await server.accounts.check(username, password)
    if right:
        server.guesses.take_back(f"password of {username}")
    return right


async def who_if_known(server: AuthServer, username: str) -> dict[str, str]:
    """A name that nobody has may be a password in the wrong field."""
    known = username.isprintable() and await server.directory.ask(server.directory.password_hash, username)
    return {"who": username} if known else {}


async def consent(request: Request) -> Response:
    return await (decide if request.method == "POST" else look)(request)


async def look(request: Request) -> Response:
    """The page once more: after signing in, or reloaded."""
    asked = once_each(request.query_params.multi_items(), ("request",))
    return await next_page(await open_question(request, asked))


async def decide(request: Request) -> Response:
    """The person has decided, and how much they allow."""
    pairs = await read_form(request)
    answer = once_each(pairs, ("request", "decision", "form"))
    waiting = await open_question(request, answer)
    wanted = waiting.asked["scope"].split()
    ticked = [scope for scope in wanted if ("scope", scope) in pairs]  # what was asked, and no more
    if answer.get("decision") != "allow" or not set(ticked) - set(OFFLINE):
        return await deny(waiting)
    if waiting.session is None:
        return await login_page(waiting, 403, "Sign in first.")
    try:
        browsers.check_form(request, answer)
    except OAuthError as no:
        return await consent_page(waiting, ticked, no.why, 403)
    return await allow(waiting, " ".join(ticked))


async def open_question(request: Request, answer: dict[str, str]) -> Waiting:
    """A request of a client. Raises `OAuthError` as `open_ask` does, and for the account page's."""
    waiting = await open_ask(request, answer.get("request", ""))
    if not waiting.asked:
        raise OAuthError("invalid_request", browsers.ANSWERED)
    write_down(client=waiting.asked["client_id"])
    return waiting


async def logout(request: Request) -> Response:
    """Nobody is signed in here any more. With a request, its page asks who else there is."""
    settings = server_of(request).settings
    answer = once_each(await read_form(request), ("request", "form"))
    onwards = browsers.go_to(settings, "/account")
    if "request" in answer:
        waiting = await open_question(request, answer)
        onwards = browsers.go_to(settings, f"/consent?request={waiting.request_id}")
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
    return page(
        server.settings,
        "account.html",
        form=browsers.form_of(browsers.cookie_in(request, "session")),
        username=session.username,
        consents=[await in_words(server, one, resources) for one in allowed],
    )


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
