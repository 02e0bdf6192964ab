"""`python -m client`: log in to an MCP server, and use what it offers."""

import json
import logging
import sys
from pathlib import Path
from typing import Any

import click

from shared.addresses import RESOURCE
from shared.stop import Stop

INTERRUPTED = 130
EXAMPLES = """\b
Examples:
  python -m client --server https://mcp.example.com/mcp login
  python -m client tools
  python -m client call score_headline headline="ACME soars"
  python -m client --machine --client-id ID --issuer https://as.example.com tools
\b
Exit codes: 0 done, 1 the server or the user said no, 2 wrong usage, 130 Ctrl-C.
"""
AS_JSON = click.Option(["--json", "as_json"], is_flag=True, help="One JSON document on standard output.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True}, epilog=EXAMPLES)
@click.option("--server", envvar="MCP_SERVER", default=RESOURCE, show_envvar=True, help="The MCP endpoint.")
@click.option("--client-id", help="Registered beforehand; else the client makes itself known.")
@click.option("--client-secret", envvar="MCP_CLIENT_SECRET", show_envvar=True, help="Better as the variable.")
@click.option("--client-metadata-url", metavar="URL", help="Our client ID metadata document (https).")
@click.option("--issuer", metavar="URL", help="The authorization server that the credentials belong to.")
@click.option("--scope", help="What to ask for, in place of what the server suggests.")
@click.option("--machine", "is_machine", is_flag=True, help="Nobody is asked: client credentials.")
@click.option(
    "--private-key", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="PEM, for a machine that signs."
)
@click.option("--no-browser", is_flag=True, help="Show the address, and take the one it ends at.")
@click.option("--callback-port", type=click.IntRange(0, 65535), default=0, help="If the registration names one.")
def cli(**_: Any) -> None:
    """A client for protected MCP servers: OAuth 2.1, as the MCP specification asks for it."""


cli.params.append(AS_JSON)


def command(name: str, about: str, *params: click.Parameter) -> None:
    """A subcommand: the method of `Use` by this name does it."""

    @click.pass_context
    def run(context: click.Context, /, as_json: bool, **words: Any) -> None:
        said = dict(context.parent.params)
        perform(name, said, said.pop("as_json") or as_json, words)

    cli.add_command(click.Command(name, callback=run, params=[*params, AS_JSON], help=about))


command("login", "Log in to the server; the user is asked in a browser.")
command("tools", "What can be called.")
command(
    "call",
    "Call a tool.\n\nA value is read as JSON where the tool wants more than text: n=3, or portfolio='{\"ACME\": 60}'.",
    click.Argument(["name"]),
    click.Argument(["arguments"], nargs=-1, metavar="[KEY=VALUE]..."),
)
command("resources", "What can be read.")
command("read", "Read a resource.", click.Argument(["uri"]))
command("whoami", "On whose behalf we act there.")
command(
    "token",
    "About our access token. Nobody is asked.",
    click.Option(["--raw"], is_flag=True, help="The access token itself. Whoever has it can use it."),
)
command(
    "logout",
    "Give the tokens back, and forget them.",
    click.Option(["--forget"], is_flag=True, help="Forget the registration too."),
)


def perform(name: str, said: dict[str, Any], as_json: bool, words: dict[str, Any]) -> None:
    """Do it, and end with 1 or 130 if that fails. The SDK is imported only now: `--help` does not wait for it."""
    import anyio

    from . import output
    from .belongings import Belongings
    from .commands import Use
    from .options import Options
    from .storage import open_store

    try:
        json.dumps([said, words], ensure_ascii=False, default=repr).encode()
        nobody_there = not (name == "login" or said["no_browser"] or sys.stdin.isatty())
        options = Options(**said, nobody_there=nobody_there)
    except Stop as no:
        raise click.UsageError(str(no)) from None
    except UnicodeEncodeError:
        raise click.UsageError("What you typed is not UTF-8.") from None
    try:
        belongings = Belongings(open_store(), options, output.say)
        value, text = anyio.run(Use(options, belongings).perform, name, words)
        click.echo(json.dumps(value, indent=2)) if as_json else output.lines(text)
    except KeyboardInterrupt:
        output.say("Ended.")
        sys.exit(INTERRUPTED)
    except Exception as error:
        if not (text := output.sentence(error)):
            raise
        if as_json:
            click.echo(json.dumps({"error": text}))
        output.say(text)
        sys.exit(1)


def main() -> None:
    """Run, and end with an exit code: 0, 1, 2 or 130. Each failure is one sentence on standard error."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a console may lack the letters that a server sends
    for name in ("mcp", "uvicorn"):  # what they log, we say; and tracebacks could tell secrets
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    cli(prog_name="python -m client")
