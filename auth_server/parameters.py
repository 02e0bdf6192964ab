"""What was asked, made plain at the edge; and by whom, for whose door: the rules that /authorize and /token share."""

import hmac
import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

from starlette.requests import Request

from shared.operating import as_ipv4

from .context import AuthServer, OAuthError, server_of
from .directory import Resource
from .storage import Client

OFFLINE_ACCESS = "offline_access"  # not a right at any resource: the wish for a refresh token


def once_each(pairs: list[tuple[str, str]], names: Collection[str]) -> dict[str, str]:
    """These names, each once, as plain text. An empty value is none; the rest is ignored. OAuth 2.1 §3.1, §3.2.

    Raises `OAuthError` if one of them appears more than once.
    """
    ask: dict[str, str] = {}
    for name, value in pairs:
        if name in ask:
            error = "invalid_target" if name == "resource" else "invalid_request"  # RFC 8707 §2
            raise OAuthError(error, "a parameter appears more than once")
        if name in names and value:
            ask[name] = value
    return ask


def shows_token(request: Request, wanted: str) -> bool:
    """Whether this bearer token came along: RFC 6750 §2.1. Where none is wanted, none is right."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return bool(wanted) and scheme.lower() == "bearer" and hmac.compare_digest(token.encode(), wanted.encode())


def address(request: Request) -> str:
    """Of whoever asks. IPv4 is IPv4, at whichever socket it came in."""
    return as_ipv4(request.client.host) if request.client else ""


def neighbourhood(request: Request) -> str:
    """An address; of IPv6 the /64 that it is in, because whoever has one address there has all of them."""
    return network_of(address(request))


@lru_cache(10_000)
def network_of(host: str) -> str:
    try:
        return str(ipaddress.ip_network((host.partition("%")[0], 64), strict=False)) if ":" in host else host
    except ValueError:
        return host


def is_short_text(value: object) -> bool:
    """Printable, and at most 2000 characters."""
    return isinstance(value, str) and value.isprintable() and len(value) <= 2000


@dataclass(frozen=True)
class Known:
    """What the rules look at besides the request. `resources`: by identifier."""

    client: Client | None
    resources: dict[str, Resource]


async def find_client(request: Request, client_id: object) -> Client | None:
    """Registered here, or described by the document at its URL. Raises `OAuthError` if that cannot be used."""
    server = server_of(request)
    if not is_short_text(client_id):
        return None
    if client_id.startswith(("https://", "http://")):
        return await server.documents.client(client_id, neighbourhood(request))
    return await server.store.ask(server.store.client, client_id)


async def known_to(server: AuthServer, client: Client | None) -> Known:
    """What the rules about a request of this client look at."""
    return Known(client, await server.directory.ask(server.directory.resources))


def names_a_resource(ask: dict[str, str], known: Known) -> None:
    if ask.get("resource") not in known.resources:
        raise OAuthError("invalid_target", "resource must name a server we make tokens for")  # RFC 8707 §2


def registered_scope(ask: dict[str, str], known: Known) -> None:
    refreshes = "refresh_token" in known.client.registered["grant_types"]
    may = {*may_ask(ask, known)} | ({OFFLINE_ACCESS} if refreshes else set())
    if not set(ask.get("scope", "").split(" ")) <= may:
        raise OAuthError("invalid_scope", "scope must stay within what is registered")  # OAuth 2.1 §4.1.2.1


def may_ask(ask: dict[str, str], known: Known) -> list[str]:
    """What this client registered, as far as the resource knows it."""
    registered = known.client.registered.get("scope")  # a document may name none: then the resource sets the limit
    resource = known.resources.get(ask.get("resource", ""))
    here = resource.scopes if resource else (registered or "").split()
    return [scope for scope in here if registered is None or scope in registered.split()]


def if_silent(ask: dict[str, str], known: Known) -> dict[str, str]:
    """What an ask means that names no scope: all that this client may ask there. RFC 6749 §3.3.

    Its resource is from here on spelled as the operator did.
    """
    if ask.get("resource") not in known.resources:
        ask = ask | {"resource": one for one in known.resources if same_place(one, ask.get("resource", ""))}
    return {"scope": " ".join(may_ask(ask, known))} | ask


def same_place(one: str, other: str) -> bool:
    """Scheme and host of a URL may be in upper case: RFC 3986 §6.2.2.1."""
    one, other = (re.sub(r"^[^/]*//[^/?]*", lambda origin: origin[0].lower(), url) for url in (one, other))
    return one == other


def still_there(resource: str, scope: str, known: Known) -> str:
    """What is left of a scope that was allowed. Raises `OAuthError` if nothing is, or the resource has gone."""
    ask = {"resource": resource}
    names_a_resource(ask, known)
    left = " ".join(name for name in scope.split() if name in (*may_ask(ask, known), OFFLINE_ACCESS))
    if not at_the_resource(left):
        raise OAuthError("invalid_scope", "nothing of what was allowed is to be had any longer")
    return left


def at_the_resource(scope: str) -> str:
    """Without what is a matter between the client and us alone."""
    return " ".join(name for name in scope.split() if name != OFFLINE_ACCESS)
