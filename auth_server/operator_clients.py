"""What an operator types about clients, and about the resources that tokens are made for."""

import json
import re
import secrets
import time
from dataclasses import replace
from typing import Any

import click

from shared.operating import may_be_http
from shared.stop import Stop

from . import tables
from .database import sha256
from .directory import Resource, moment
from .errors import OAuthError
from .office import Office, at_the_office, removing
from .targets import OFFLINE_ACCESS

SCOPE = re.compile(r"([!#-<>-\[\]-~]+)=\s*(\S.*)")  # RFC 6749 §3.3, and what it means
ONCE = "The secret is shown this once, and kept here only as a hash."


@click.group()
def clients() -> None:
    """Programs that ask for tokens, beside those that register themselves.

    \b
    python -m auth_server clients add "My web app" --redirect-uri https://app.example/callback
    python -m auth_server clients add "My desktop app" --public --redirect-uri http://127.0.0.1/callback
    python -m auth_server clients add "Nightly job" --machine --scope "mcp:tools:sentiment"
    """


@clients.command("add")
@click.argument("name")
@click.option("--redirect-uri", "uris", multiple=True, help="where answers go; may be given more than once")
@click.option("--public", is_flag=True, help="it runs on people's own computers and can keep no secret")
@click.option("--machine", is_flag=True, help="it acts for itself: client_credentials, and nobody is asked")
@click.option("--scope", help="what it may ask for at most; without it, all there is")
@click.option("--auth-method", help="client_secret_basic, client_secret_post, private_key_jwt or none")
@click.option("--jwks", type=click.File("rb"), help="a file with its public keys, for private_key_jwt")
@at_the_office
def add_client(here: Office, **about: Any) -> None:
    """Register a client. Its secret is shown once, and kept only as a hash."""
    from .registration import new_client

    resources = here.directory.resources()
    known = {scope for resource in resources.values() for scope in resource.scopes}
    if unknown := [scope for scope in (about["scope"] or "").split() if scope not in known | {OFFLINE_ACCESS}]:
        raise Stop(f"No resource has the scope {', '.join(unknown)}. There are: {', '.join(sorted(known)) or 'none'}.")
    try:
        client, secret = new_client(metadata_from(**about), resources, by_the_operator=True)
    except OAuthError as no:
        raise Stop(f"It cannot be registered: {no.why}.") from None
    here.store.add_client(client, time.time(), None)
    here.say(client.registered | ({"client_secret": secret} if secret else {}), ONCE if secret else "")


def metadata_from(
    name: str, uris: tuple[str, ...], public: bool, machine: bool, scope: str | None, auth_method: str | None, jwks: Any
) -> dict[str, Any]:
    """As the client would have said it itself: RFC 7591 §2."""
    usual = "private_key_jwt" if jwks else "none" if public else "client_secret_basic"
    local = any(uri.startswith("http://") for uri in uris)
    metadata = {
        "client_name": name,
        "redirect_uris": list(uris),
        "token_endpoint_auth_method": auth_method or usual,
        "grant_types": ["client_credentials"] if machine else ["authorization_code", "refresh_token"],
        "response_types": [] if machine else ["code"],
        "application_type": "native" if public or local else "web",
    }
    try:
        return metadata | ({"scope": scope} if scope else {}) | ({"jwks": json.load(jwks)} if jwks else {})
    except (ValueError, RecursionError):
        raise Stop(f"{jwks.name} is not JSON.") from None


@clients.command("list")
@at_the_office
def list_clients(here: Office) -> None:
    """All of them, also those that registered themselves."""
    found = []
    for client, since in here.store.all_clients():
        about = {"client_id": client.client_id, "kind": client.kind, "since": moment(since)}
        found.append(about | {"client_name": client.registered["client_name"]})
    here.say(found)


@clients.command("show")
@click.argument("client_id")
@at_the_office
def show_client(here: Office, client_id: str) -> None:
    """What a client registered. Never its secret, which nobody knows any more."""
    client = here.store.client(client_id)
    if client is None:
        raise Stop(f"There is no {client_id!r} here.")
    here.say(client.registered)


@click.group()
def resources() -> None:
    """The MCP servers that tokens are made for.

    \b
    python -m auth_server resources add https://mcp.example/mcp --name "Our tools" \\
        --scope "mcp:tools:echo=Use the echo" --scope "mcp:tools:*=Use all tools"
    """


@resources.command("add")
@click.argument("resource")
@click.option("--name", help="what people call it; without it, its host")
@click.option("--scope", "scopes", multiple=True, metavar="NAME=SENTENCE", help="what the consent page says of it")
@click.option("--new-credentials", is_flag=True, help="for introspection, in the place of those it had")
@at_the_office
def add_resource(here: Office, resource: str, name: str | None, scopes: tuple[str, ...], new_credentials: bool) -> None:
    """Add a resource, or change one. Its credentials for introspection are shown once, and kept only as a hash."""
    if not re.fullmatch(r"https?://[!\"$-~]+", resource) or not may_be_http(resource, ""):
        what = "a resource is an https URL without a fragment, or http on this computer (RFC 8707 §2)"
        raise click.BadParameter(what, param_hint="RESOURCE")
    named = [SCOPE.fullmatch(one) for one in scopes]
    old = here.directory.resources().get(resource)
    if not all(named) or not (named or old):
        raise click.UsageError("Name at least one --scope, as NAME=SENTENCE.")
    known = old or Resource(resource, resource.split("/")[2], {})
    known = replace(known, name=name or known.name, scopes=dict(one.groups() for one in named) or known.scopes)
    secret = secrets.token_urlsafe(32) if new_credentials or not old else ""
    if secret:
        known = replace(known, introspection_id=secrets.token_urlsafe(16), secret_hash=sha256(secret))
    here.directory.put_resource(known, time.time())
    here.say(shown(known) | ({"introspection_secret": secret} if secret else {}), ONCE if secret else "")


@resources.command("list")
@at_the_office
def list_resources(here: Office) -> None:
    """Each with its scopes."""
    here.say([shown(one) for one in here.directory.resources().values()])


def shown(resource: Resource) -> dict[str, Any]:
    return {name: getattr(resource, name) for name in ("resource", "name", "scopes", "introspection_id")}


removing(clients, tables.clients)
removing(resources, tables.resources)
