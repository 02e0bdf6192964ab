"""What a person reads, or what a program does: one JSON document, and nothing else, on standard output."""

import base64
import json
import shutil
from datetime import UTC, datetime

import click

from .wire import json_object, readable

SHORT = 12  # characters of an identifier


def say(text: str) -> None:
    """Progress and status: on standard error, on one line. URLs are neither wrapped nor shortened."""
    click.echo(readable(text, len(text)), err=True)


def document(value: object) -> None:
    click.echo(json.dumps(value, indent=2))


def lines(text: str) -> None:
    """A text of strangers with its own line breaks, and nothing else that moves the cursor."""
    for line in text.splitlines():
        click.echo(readable(line.replace("\t", "    "), len(text)))


def table(title: str, rows: dict[str, object]) -> str:
    """Two columns, as wide as the terminal."""
    page = click.HelpFormatter(width=shutil.get_terminal_size().columns)
    with page.section(title):
        page.write_dl([(readable(name), readable(about, 1000)) for name, about in rows.items()])
    return page.getvalue()


def claims_in(token: str) -> dict:
    """What a JWT says, for people, and unverified: it is meant for the MCP server, and only that can judge it.

    Identifiers are cut: enough to recognise, not enough to use. Empty if the token is opaque.
    """
    payload = token.split(".")[1] if token.count(".") == 2 else ""
    try:
        claims = json_object(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        return {}
    cut = {name: str(claims[name])[:SHORT] + "…" for name in ("jti", "client_id", "sid") if name in claims}
    return claims | cut | {name: moment(claims[name]) for name in ("exp", "iat", "nbf", "auth_time") if name in claims}


def moment(seconds: object) -> str:
    """Seconds since 1970 as `2026-11-21 18:40:02 UTC`."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S UTC}"
    except (OverflowError, ValueError, OSError, TypeError):
        return str(seconds)
