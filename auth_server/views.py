"""What a person is shown on the way: a page to sign in, a page to decide, or neither."""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.responses import Response

from .browsers import Waiting, cookie_in, form_of
from .consents import allow, need_not_ask
from .demo import PEOPLE
from .directory import Resource
from .rendering import page
from .storage import Client
from .targets import Known, find_client, known_to

NAMELESS = "a program without a name"
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
OFFLINE = {"offline_access": "Stay connected when you are away"}


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
    """Who asks, for what, where the answer goes, and what of it nobody has verified: OAuth 2.1 §7.3, RFC 7591 §5."""
    asked, known = waiting.asked, await known_of(waiting)
    resource = known.resources.get(asked["resource"]) or Resource(asked["resource"], asked["resource"], {})
    wanted = asked["scope"].split()
    kind = known.client.kind if known.client else "dynamic"
    return page(
        waiting.server.settings,
        "consent.html",
        status,
        request=waiting.request_id,
        form=form_of(cookie_in(waiting.request, "session")),
        problem=problem,
        username=waiting.session.username,
        client_name=name_of(known.client),
        known_from=KNOWN_FROM[kind].format(urlsplit(asked["client_id"]).netloc),
        warnings=warnings(asked, kind, waiting.server.settings.loopback_documents),
        resource=resource,
        redirect_host=urlsplit(asked["redirect_uri"]).netloc,
        scopes={scope: words for scope, words in sentences(resource).items() if scope in wanted},
        ticked=wanted if ticked is None else ticked,
    )


async def known_of(waiting: Waiting) -> Known:
    server = waiting.server
    return waiting.known or await known_to(server, await find_client(server, waiting.asked["client_id"]))


def name_of(client: Client | None) -> str:
    return (client.registered.get("client_name", "").strip() if client else "") or NAMELESS


def warnings(asked: dict[str, str], kind: str, loopback_documents: bool) -> list[str]:
    found = [LOCAL_PROGRAM] if asked["redirect_uri"].startswith("http://") else []
    return found + ([LOCAL_DOCUMENTS] if kind == "document" and loopback_documents else [])


def sentences(resource: Resource) -> dict[str, str]:
    """What each scope means, in the words of its resource."""
    return resource.scopes | OFFLINE
