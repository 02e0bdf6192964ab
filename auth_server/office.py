"""Where an operator's commands do their work, whether the server runs or not."""

import functools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from sqlalchemy import Table

from shared.stop import Stop

from .database import Database
from .directory import Directory
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
