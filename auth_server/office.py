"""Where an operator's commands do their work, whether the server runs or not; and those about clients and resources."""

import functools
import json
import os
import re
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import click
from sqlalchemy import Table

from shared.operating import may_be_http
from shared.stop import Stop

from . import tables
from .context import OAuthError
from .database import Database, sha256
from .directory import Directory, Resource, moment
from .parameters import OFFLINE_ACCESS
from .settings import Settings
from .storage import Store

IN_JSON = "auth_server.in_json"
config_option = click.option("--config", type=click.Path(path_type=Path), help="a TOML file with settings")


def answer_in_json(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    context.meta[IN_JSON] = wanted or context.meta.get(IN_JSON, False)  # wherever it stands, it is meant


json_option = click.option("--json", is_flag=True, expose_value=False, callback=answer_in_json, help="answer in JSON")


def load_settings(config: Path | None, **named: object) -> Settings:
    """Ends with exit code 2 and one sentence per mistake if there are any."""
    try:
        return Settings.load(os.environ, config, **{name: value for name, value in named.items() if value is not None})
    except Stop as mistakes:
        print(mistakes, file=sys.stderr)
        sys.exit(2)


class Office:
    """One command's view. `in_json`: whether it answers a program rather than a person."""

    def __init__(self, settings: Settings, in_json: bool):
        self.settings, self.in_json = settings, in_json
        self.database = Database(settings.database_url)
        self.store, self.directory = Store(self.database), Directory(self.database)
        seconds = settings.token_lifetime
        self.living_on = f"Access tokens that a resource server checks by itself live on: {seconds} seconds at most."

    def say(self, found: dict | list[dict], note: str = "") -> None:
        """One JSON value; or a table of a list, a line for each member of a single thing, and a note."""
        if self.in_json:
            click.echo(json.dumps(found, indent=2))
        elif isinstance(found, list):
            click.echo(table(found) if found else "None yet.")
        else:
            lines = [f"{name}: {plain(value)}" for name, value in found.items()]
            click.echo("\n".join([*lines, note] if note else lines))


def table(rows: list[dict]) -> str:
    """The names of the columns, and below them each as wide as it must be. Of a dictionary, its names."""
    cells = [[*rows[0]]]
    cells += [[plain(", ".join(one) if isinstance(one, dict) else one) for one in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in cells]
    return "\n".join("  ".join(row).rstrip() for row in padded)


def plain(value: object) -> str:
    """A stranger may have chosen it: it must not move the cursor."""
    if isinstance(value, dict):
        value = ", ".join(f"{name}={one}" for name, one in value.items())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str("" if value is None else value))


def at_the_office(command: Callable[..., None]) -> Callable[..., None]:
    """The options that every command has. What it gets first is an `Office`."""

    @config_option
    @click.option("--data", help="the folder of database and keys")
    @json_option
    @click.pass_context
    @functools.wraps(command)
    def run(context: click.Context, config: Path | None, data: str | None, **named: Any) -> None:
        here = Office(load_settings(config, data=data), context.meta[IN_JSON])
        try:
            command(here, **named)
        finally:
            here.database.close()

    return run


def removing(group: click.Group, what: Table) -> None:
    """The command that forgets a row of a table."""

    @group.command(
        "remove",
        help="Forget one of them. What was allowed works no more.",
        context_settings={"ignore_unknown_options": True},  # a client_id may begin with a dash
    )
    @click.argument("name")
    @at_the_office
    def remove(here: Office, name: str) -> None:
        was_there, ended = here.store.remove(what, name, time.time())
        if not (was_there or ended):
            raise Stop(f"There is no {name!r} here.")
        here.say({"removed" if was_there else "ended": name}, here.living_on)


# ── clients and resources ─────────────────────────────────────────────────────────────────────────

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
