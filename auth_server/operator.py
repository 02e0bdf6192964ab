"""What an operator types: run the server, and put in who and what it knows. Works while the server runs."""

import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import click
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from shared.operating import serve
from shared.stop import Stop

from .accounts import LONGEST, SHORTEST, Accounts, as_name, as_password
from .directory import moment
from .office import Office, at_the_office, config_option, json_option, load_settings, removing
from .operator_clients import clients, resources
from .settings import Settings
from .tables import people

PARTIES = {"client_id": "client", "subject": "user", "grant_id": "grant"}
NOT_AS_ARGUMENTS = ("initial_access_token", "metrics_token", "database")  # others on this computer read arguments


class RunsByDefault(click.Group):
    """`python -m auth_server --demo` is `python -m auth_server run --demo`."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if not args or args[0].startswith("-") and args[0] != "--help" and not set(args) & set(self.commands):
            args = ["run", *args]
        return super().parse_args(context, args)


@click.group(cls=RunsByDefault, context_settings={"max_content_width": 110})
@json_option
def auth_server() -> None:
    """An OAuth 2.1 authorization server for MCP servers.

    Without a command it runs. Every setting is an option of `run`, a line in a TOML file (--config), and a
    variable: code_lifetime is AS_CODE_LIFETIME. Options win over variables, and those over the file.

    \b
    python -m auth_server --demo
    python -m auth_server --config /etc/auth_server.toml
    python -m auth_server users add alice
    """


def every_setting(command: click.Command) -> click.Command:
    """An option for each, with the words of `Settings`."""
    for about in reversed(dataclasses.fields(Settings)):
        if about.name not in NOT_AS_ARGUMENTS:
            flag, kind = f"--{about.name.replace('_', '-')}", type(about.default)
            flag = f"{flag}/--no-{flag[2:]}" if kind is bool else flag
            says = f"{about.metadata['says']} [{about.default}]" if about.default != "" else about.metadata["says"]
            command = click.option(flag, about.name, type=kind, default=None, help=says)(command)
    return command


@auth_server.command()
@every_setting
@config_option
def run(config: Path | None, **named: Any) -> None:
    """Serve until Ctrl-C or SIGTERM. Creates what it needs."""
    settings = load_settings(config, **named)
    from .app import create_app  # an operator who adds a user need not wait for it

    certificate, key = (Path(file) if file else None for file in (settings.certificate, settings.key))
    about = {"listen": settings.listen, "proxies": settings.proxies, "certificate": certificate, "key": key}
    serve(create_app(settings), settings.issuer, name="auth_server", **about)


@auth_server.group()
@json_option
def users() -> None:
    """The people who may sign in."""


@users.command("add")
@click.argument("username")
@at_the_office
def add_user(here: Office, username: str) -> None:
    """Add somebody, or give them another password: asked for or, without a terminal, a line of standard input."""
    if not (username := as_name(username)):
        raise click.BadParameter(f"a name has 1 to {LONGEST} characters, none of them odd", param_hint="USERNAME")
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt="Once more", err=True)
    else:
        password = line_of_input()
    if not SHORTEST <= len(password := as_password(password)) <= LONGEST:
        raise Stop(f"A password has {SHORTEST} to {LONGEST} characters.")
    is_new = here.directory.put_person(username, Accounts(here.directory).hash(password), time.time())
    here.say({"added" if is_new else "changed": username}, "" if is_new else "They have to sign in again.")


def line_of_input() -> str:
    try:
        line = sys.stdin.readline().rstrip("\r\n")
        line.encode()  # where the locale is C, odd bytes have come through
        return line
    except UnicodeError:
        raise Stop("The password on standard input is not UTF-8.") from None


@users.command("list")
@at_the_office
def list_users(here: Office) -> None:
    """Everybody who may sign in, and since when."""
    here.say([{"username": name, "since": moment(since)} for name, since in here.directory.everybody()])


@auth_server.group()
@json_option
def keys() -> None:
    """The keys that sign tokens. A running server notices within a second."""


def keys_at(here: Office):
    from .keys import Keys  # it makes keys where there are none: not for whoever adds a user

    return Keys(Path(here.settings.data) / "keys", here.settings)


@keys.command("list")
@at_the_office
def list_keys(here: Office) -> None:
    """Which there are, what each is for now, since when, and until when it is published."""
    here.say(keys_at(here).list())


@keys.command("rotate")
@at_the_office
def rotate_keys(here: Office) -> None:
    """A successor for each: published at once, it signs after key_overlap seconds."""
    here.say({"new": keys_at(here).rotate()}, f"They are published, and sign in {here.settings.key_overlap} seconds.")


@keys.command("retire")
@click.argument("kid")
@at_the_office
def retire_key(here: Office, kid: str) -> None:
    """Withdraw a key that somebody else may know."""
    keys_at(here).retire(kid)
    here.say({"retired": kid}, "MCP servers refuse what it signed when they next read our keys: ours within 5 minutes.")


@auth_server.group()
@json_option
def tokens() -> None:
    """What has been given out."""


@tokens.command("revoke")
@click.option("--client", "client_id", help="whatever this client was given")
@click.option("--user", "subject", help="whatever this person allowed")
@click.option("--grant", "grant_id", help="whatever came of this one consent: a jti up to its dot")
@at_the_office
def revoke(here: Office, **named: str | None) -> None:
    """End grants: their refresh tokens, and their access tokens where this server is asked about them.

    What a machine was given ends too, but is not counted.
    """
    named = {name: value for name, value in named.items() if value}
    if not named:
        raise click.UsageError("Say whose: --client, --user or --grant.")
    known = {"client_id": here.store.client, "subject": here.directory.password_hash}
    for name, value in named.items():
        if not (here.store.was_given(**{name: value}) or name in known and known[name](value)):
            raise Stop(f"There is no {PARTIES[name]} {value!r} here.")
    here.say({"ended": here.store.take_back(time.time(), **named)}, here.living_on)


removing(users, people)
auth_server.add_command(clients)
auth_server.add_command(resources)


def main(args: list[str] | None = None) -> None:
    """Exit code 0 if it worked, 1 if it could not be done, 2 if it was asked for wrongly."""
    try:
        auth_server.main(args, prog_name="python -m auth_server")
    except Stop as stop:
        print(stop, file=sys.stderr)
        sys.exit(1)
    except (SQLAlchemyError, OSError, ModuleNotFoundError) as error:  # the last: of the driver that a URL names
        print(f"The database cannot be used: {getattr(error, 'orig', None) or error}.", file=sys.stderr)
        sys.exit(2 if isinstance(error, ArgumentError | ModuleNotFoundError) else 1)
