"""`python -m mcp_server`: run the sample server, or make an API key."""

import os
import sys
from pathlib import Path

import click

from shared.operating import is_loopback, say_what_happens, serve
from shared.stop import Stop

from .market import ALL_SCOPES, create_app
from .oauth import Settings
from .oauth.api_keys import ApiKeys

A_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--certificate", type=A_FILE, help="PEM file: speak TLS with this certificate.")
@click.option("--key", type=A_FILE, help="PEM file: its private key.")
@click.option("--listen", default="", metavar="HOST:PORT", help="Where to listen; else on loopback, at our own port.")
@click.pass_context
def main(context: click.Context, certificate: Path | None, key: Path | None, listen: str) -> None:
    """Serve the finance sentiment server, protected with OAuth 2.1, until Ctrl-C.

    All settings come from the environment (OAUTH_ISSUER, OAUTH_AUDIENCE, AUTH_MODE, …): mcp_server/README.md.
    """
    if context.invoked_subcommand is not None:
        return
    settings = Settings.from_environment(os.environ)
    url, proxies = settings.audience, settings.trusted_proxy
    if bool(certificate) != bool(key):
        raise Stop("--certificate and --key go together: give both, or none.")
    if url.startswith("https:") and not (certificate or proxies):
        raise Stop(f"{url} means TLS: give --certificate and --key, or name the proxy before us in TRUSTED_PROXY.")
    if listen and url.startswith("http:") and not (proxies or is_loopback(listen.rpartition(":")[0])):
        raise Stop(f"--listen {listen} lets others in without TLS: OAUTH_AUDIENCE must be https, or TRUSTED_PROXY set.")
    say_what_happens("mcp_server")  # before the SDK decides how logs look
    app = create_app(settings)
    serve(app, url, listen=listen, certificate=certificate, key=key, proxies=proxies, name="mcp_server")


@main.command()
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, help="What it may do; give it several times for several.")
def add_key(name: str, scopes: tuple[str, ...]) -> None:
    """Make an API key, show it this once, and add a line with its hash to the file that API_KEY_FILE names."""
    if not scopes:
        raise Stop(f"A key may do what --scope says: give one or several, like {', '.join(ALL_SCOPES)}.")
    click.echo(ApiKeys(Settings.from_environment(os.environ).api_key_file).add(name, " ".join(scopes).split()))
    click.echo("Send it as X-API-Key. It is shown this once: only its hash is kept.", err=True)


if __name__ == "__main__":
    try:
        main(prog_name="python -m mcp_server")
    except Stop as stop:
        sys.exit(str(stop))
