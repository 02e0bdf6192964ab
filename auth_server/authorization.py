"""The authorization endpoint: a browser brings a client's request. OAuth 2.1 §4.1.1."""

import re

from starlette.requests import Request
from starlette.responses import Response

from shared.audit import write_down

from .browsers import ask_somebody, session_of
from .consents import back_to_client, may_send_home
from .context import OAuthError, server_of
from .pages import next_page, sentences
from .parameters import Known, find_client, if_silent, known_to, names_a_resource, once_each, registered_scope
from .registration import LOOPBACK

ASK_NAMES = """response_type client_id redirect_uri scope state resource
    code_challenge code_challenge_method prompt""".split()


def known_client(ask: dict[str, str], known: Known) -> None:
    if known.client is None:
        raise OAuthError("invalid_request", "No program is registered under this client_id.")


def exact_redirect_uri(ask: dict[str, str], known: Known) -> None:
    """OAuth 2.1 §2.3.1: compared as text."""
    registered = map(without_loopback_port, known.client.registered["redirect_uris"])
    if without_loopback_port(ask.get("redirect_uri", "")) not in registered:
        raise OAuthError("invalid_request", "The redirect_uri is not one that the program registered.")


def without_loopback_port(uri: str) -> str:
    """A program on this computer learns its port when it starts: RFC 8252 §7.3, OAuth 2.1 §4.1.1."""
    return re.sub(rf"^(http://{LOOPBACK}):[0-9]{{1,5}}(?=[/?]|\Z)", r"\1", uri)


SHOW_THE_USER = (known_client, exact_redirect_uri)  # not yet safe to redirect: OAuth 2.1 §4.1.2.1


def code_response(ask: dict[str, str], known: Known) -> None:
    if ask.get("response_type") != "code":
        error = "unsupported_response_type" if "response_type" in ask else "invalid_request"
        raise OAuthError(error, "response_type must be code")  # OAuth 2.1 §4.1.1


def s256_challenge(ask: dict[str, str], known: Known) -> None:
    sha256 = re.fullmatch(r"[A-Za-z0-9_-]{43}", ask.get("code_challenge", ""))
    if ask.get("code_challenge_method") != "S256" or not sha256:
        why = "code_challenge must be 43 characters, and code_challenge_method S256"
        raise OAuthError("invalid_request", why)  # RFC 7636 §4.4.1


TELL_THE_CLIENT = (code_response, s256_challenge, names_a_resource, registered_scope)  # errors travel home


async def authorize(request: Request) -> Response:
    """A page: to sign in, or to decide. Or a way home: with an error, or with what was allowed before."""
    server = server_of(request)
    pairs = request.query_params.multi_items()
    ask = once_each(pairs, ("client_id", "redirect_uri"))
    known = await known_to(server, await find_client(request, ask.get("client_id", "")))
    for rule in SHOW_THE_USER:
        rule(ask, known)
    write_down(client=ask["client_id"])
    session = await session_of(request)
    try:
        ask |= once_each(pairs, ("state",))
        ask = if_silent(ask | once_each(pairs, ASK_NAMES), known)
        for rule in TELL_THE_CLIENT:
            rule(ask, known)
    except OAuthError as no:
        if session is None:
            may_send_home(ask)
        return back_to_client(server.settings, ask, error=no.error, error_description=no.why)
    wanted = ask["scope"].split()  # from here on each once, as its resource lists them
    ask["scope"] = " ".join(scope for scope in sentences(known.resources[ask["resource"]]) if scope in wanted)
    return await ask_somebody(request, ask, session, next_page, known)
