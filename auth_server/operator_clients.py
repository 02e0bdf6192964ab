"""What an operator types about clients, and about the resources that tokens are made for."""

import re
import secrets
import time
from dataclasses import replace
from typing import Any, BinaryIO

import click

from shared.operating import may_be_http
from shared.stop import Stop

from . import tables
from .context import OAuthError
from .database import sha256
from .directory import Resource, moment
from .office import Office, at_the_office, json_option, removing
from .parameters import OFFLINE_ACCESS

SCOPE = re.compile(r"([!#-<>-\[\]-~]+)=\s*(\S.*)")  # RFC 6749 §3.3, and what it means
ONCE = "The secret is shown this once, and kept here only as a hash."


@click.group()
@json_option
def clients() -> None:
    """Programs that ask for tokens, beside those that register themselves."""


@clients.command("add")
@click.argument("name")
@click.option("--redirect-uri", "uris", multiple=True, help="where answers go; may be given more than once")
@click.option("--public", is_flag=True, help="it runs on people's own computers and can keep no secret")
@click.option("--machine", is_flag=True, help="it acts for itself: client_credentials, and nobody is asked")
@click.option("--scope", default="", help="what it may ask for at most; without it, all there is")
@click.option("--auth-method", help="client_secret_basic, client_secret_post, private_key_jwt or none")
@click.option("--public-key", "pem", type=click.File("rb"), help="a PEM file, for private_key_jwt by RS256 or ES256")
@at_the_office
def add_client(
    here: Office, name: str, uris: tuple, public: bool, machine: bool, scope: str, auth_method: str, pem: BinaryIO
) -> None:
    """Register a client. Its secret is shown once, and kept only as a hash."""
    from .registration import all_scopes, new_client

    resources = here.directory.resources()
    known = all_scopes(resources)
    if unknown := [one for one in scope.split() if one not in (*known, OFFLINE_ACCESS)]:
        raise Stop(f"No resource has the scope {', '.join(unknown)}. There are: {', '.join(sorted(known)) or 'none'}.")
    usual = "private_key_jwt" if pem else "none" if public else "client_secret_basic"
    local = any(uri.startswith("http://") for uri in uris)
    metadata = {  # as the client would have said it itself: RFC 7591 §2
        "client_name": name,
        "redirect_uris": list(uris),
        "token_endpoint_auth_method": auth_method or usual,
        "grant_types": ["client_credentials"] if machine else ["authorization_code", "refresh_token"],
        "response_types": [] if machine else ["code"],
        "application_type": "native" if public or local else "web",
    }
    metadata |= ({"scope": scope} if scope else {}) | ({"jwks": jwks_in(pem)} if pem else {})
    try:
        client, secret = new_client(metadata, resources, by_the_operator=True)
    except OAuthError as no:
        raise Stop(f"It cannot be registered: {no.why}.") from None
    here.store.add_client(client, time.time(), None)
    here.say(client.registered | ({"client_secret": secret} if secret else {}), ONCE if secret else "")


def jwks_in(pem: BinaryIO) -> dict[str, Any]:
    """A client with one key need not name it: the SDK's sends no `kid`, and RFC 7523 asks for none."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    from .keys import jwk_of

    try:
        return {"keys": [jwk_of(load_pem_public_key(pem.read()), secrets.token_hex(8))]}
    except (ValueError, UnsupportedAlgorithm):
        why = "is no public key in PEM for RS256 or ES256. Of a private one, `openssl pkey -in FILE -pubout` makes it"
        raise Stop(f"{pem.name} {why}.") from None


@clients.command("list")
@at_the_office
def list_clients(here: Office) -> None:
    """All of them, also those that registered themselves; in JSON with all that they registered."""
    found = []
    for client, since in here.store.all_clients():
        about = {"client_id": client.client_id, "kind": client.kind, "since": moment(since)}
        name = {"client_name": client.registered["client_name"]}
        found.append(about | (client.registered if here.in_json else name))
    here.say(found)


@click.group()
@json_option
def resources() -> None:
    """The MCP servers that tokens are made for."""


@resources.command("add")
@click.argument("resource")
@click.option("--name", help="what people call it; without it, its host")
@click.option("--scope", "scopes", multiple=True, metavar="NAME=SENTENCE", help="what the consent page says of it")
@click.option("--new-credentials", is_flag=True, help="for introspection, in the place of those it had")
@at_the_office
def add_resource(here: Office, resource: str, name: str | None, scopes: tuple[str, ...], new_credentials: bool) -> None:
    """Add a resource, or change one. Its credentials for introspection are shown once, and kept only as a hash."""
    if not is_a_place(resource):
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


def is_a_place(resource: str) -> bool:
    try:
        return bool(re.fullmatch(r"https?://[!\"$-~]+", resource)) and may_be_http(resource, "")
    except ValueError:  # half an IPv6 address
        return False


@resources.command("list")
@at_the_office
def list_resources(here: Office) -> None:
    """Each with its scopes."""
    here.say([shown(one) for one in here.directory.resources().values()])


def shown(resource: Resource) -> dict[str, Any]:
    return {name: getattr(resource, name) for name in ("resource", "name", "introspection_id", "scopes")}


removing(clients, tables.clients)
removing(resources, tables.resources)
