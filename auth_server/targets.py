"""Who asks, for whose door, and how much they may do there: the rules that /authorize and /token share."""

from dataclasses import dataclass

from .context import AuthServer
from .directory import Resource
from .errors import OAuthError
from .settings import Settings
from .storage import Client

OFFLINE_ACCESS = "offline_access"  # not a right at any resource: the wish for a refresh token


@dataclass(frozen=True)
class Known:
    """What the rules look at besides the request. `resources`: by identifier."""

    client: Client | None
    resources: dict[str, Resource]
    settings: Settings


async def find_client(server: AuthServer, client_id: str) -> Client | None:
    """Registered here, or described by the document at the URL that is its name (Client ID Metadata Documents §3).

    None if nobody is known by this name. Raises `OAuthError` if the document cannot be used, with the reason.
    """
    if client_id.startswith(("https://", "http://")):
        return await server.documents.client(client_id)
    return await server.store.ask(server.store.client, client_id)


async def known_to(server: AuthServer, client: Client | None) -> Known:
    """What the rules about a request of this client look at."""
    return Known(client, await server.directory.ask(server.directory.resources), server.settings)


def names_a_resource(ask: dict[str, str], known: Known) -> None:
    if ask.get("resource") not in known.resources:
        raise OAuthError("invalid_target", "resource must name a server we make tokens for")  # RFC 8707 §2


def registered_scope(ask: dict[str, str], known: Known) -> None:
    refreshes = "refresh_token" in known.client.registered["grant_types"]
    may = {*may_ask(ask, known)} | ({OFFLINE_ACCESS} if refreshes else set())
    if not set(ask.get("scope", "").split(" ")) <= may:
        raise OAuthError("invalid_scope", "scope must stay within what is registered")  # OAuth 2.1 §4.1.2.1


def may_ask(ask: dict[str, str], known: Known) -> list[str]:
    """What this client registered, as far as the resource knows it.

    A metadata document may name no scope: then the resource alone sets the limit.
    """
    registered = known.client.registered.get("scope")
    resource = known.resources.get(ask.get("resource", ""))
    here = resource.scopes if resource else (registered or "").split()
    return [scope for scope in here if registered is None or scope in registered.split()]


def if_silent(ask: dict[str, str], known: Known) -> dict[str, str]:
    """What an ask means that names no resource, or no scope: all that this client may ask there. RFC 6749 §3.3."""
    if known.settings.default_resource:
        ask = {"resource": known.settings.default_resource} | ask
    return {"scope": " ".join(may_ask(ask, known))} | ask


def at_the_resource(scope: str) -> str:
    """Without what is a matter between the client and us alone."""
    return " ".join(name for name in scope.split() if name != OFFLINE_ACCESS)
