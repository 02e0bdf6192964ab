"""Where an operator's commands do their work: at the database and the keys, whether the server runs or not."""

import functools
import json
import os
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

config_option = click.option("--config", type=click.Path(path_type=Path), help="a TOML file with settings")


class BadSettings(Stop):
    """What was set cannot be meant so."""


def load_settings(config: Path | None, **named: object) -> Settings:
    """Raises `BadSettings` with one sentence per mistake."""
    try:
        return Settings.load(os.environ, config, **{name: value for name, value in named.items() if value is not None})
    except Stop as mistakes:
        raise BadSettings(str(mistakes)) from None


class Office:
    """One command's view. `in_json`: whether it answers a program rather than a person."""

    def __init__(self, settings: Settings, in_json: bool):
        self.settings, self.in_json = settings, in_json
        self.database = Database(settings.database_url)
        self.store, self.directory = Store(self.database), Directory(self.database)

    def say(self, found: dict | list[dict], note: str = "") -> None:
        """One JSON value; or a line for each thing in a list, for each member of a single one, and a note."""
        if self.in_json:
            click.echo(json.dumps(found, indent=2))
            return
        if isinstance(found, list):
            lines = ["  ".join(map(plain, one.values())).rstrip() for one in found] or ["None yet."]
        else:
            lines = [f"{name}: {plain(value)}" for name, value in found.items()]
        click.echo("\n".join([*lines, note] if note else lines))


def plain(value: object) -> str:
    """A stranger may have chosen it: it must not move the cursor."""
    if isinstance(value, dict):
        value = ", ".join(f"{name}={one}" for name, one in value.items())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(value))


def at_the_office(command: Callable[..., None]) -> Callable[..., None]:
    """The options that every command has. What it gets first is an `Office`."""

    @config_option
    @click.option("--data", help="the folder of database and keys")
    @click.option("--json", "in_json", is_flag=True, help="answer in JSON")
    @functools.wraps(command)
    def run(config: Path | None, data: str | None, in_json: bool, **named: Any) -> None:
        here = Office(load_settings(config, data=data), in_json)
        try:
            command(here, **named)
        finally:
            here.database.close()

    return run


def removing(group: click.Group, what: Table) -> None:
    """The command that forgets a row of a table."""

    @group.command("remove", help="Forget one of them. What was allowed works no more.")
    @click.argument("name")
    @at_the_office
    def remove(here: Office, name: str) -> None:
        if not here.store.remove(what, name, time.time()):
            raise Stop(f"There is no {name!r} here.")
        here.say({"removed": name})
