"""What a person reads, or what a program does: one JSON document on standard output; and what to say if all fails."""

import shutil

import click
import httpx2
from mcp import MCPError
from mcp.client.auth import OAuthFlowError

from shared.stop import Stop

from .wire import readable

SENTENCES = {  # of several errors at once, the first kind says most
    (Stop, OAuthFlowError): "{why}",
    MCPError: "The MCP server says no: {why}.",
    httpx2.ConnectError: "{who} does not answer: {why}.",
    httpx2.TimeoutException: "{who} takes too long to answer.",
    httpx2.HTTPError: "{who} hung up, or sent what is no HTTP: {why}.",
}


def say(text: str) -> None:
    """Progress and status: on standard error, on one line. URLs are neither wrapped nor shortened."""
    click.echo(readable(text, len(text)), err=True)


def lines(text: str) -> None:
    """A text of strangers with its own line breaks, and nothing else that moves the cursor."""
    for line in text.splitlines():
        click.echo(readable(line.replace("\t", "    "), len(text)))


def table(title: str, rows: dict[str, object]) -> str:
    """Two columns, as wide as the terminal."""
    if not rows:
        return f"{title}: nothing."
    page = click.HelpFormatter(width=shutil.get_terminal_size().columns)
    with page.section(title):
        page.write_dl([(readable(name), readable(about, 1000)) for name, about in rows.items()])
    return page.getvalue()


def sentence(error: BaseException) -> str | None:
    """What to tell the user in one sentence, or None if this is a bug, which stays a traceback."""
    found = causes(error)
    for kind, told in SENTENCES.items():
        for cause in found:
            if isinstance(cause, kind):
                return told.format(who=place(cause), why=readable(cause, 1000).rstrip("." if "{why}." in told else ""))
    return None


def causes(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [cause for one in error.exceptions for cause in causes(one)]
    return [error]


def place(error: BaseException) -> str:
    try:
        return f"{error.request.url.scheme}://{error.request.url.netloc.decode()}"
    except (AttributeError, RuntimeError):  # nobody knows any more which request it was
        return "The server"
