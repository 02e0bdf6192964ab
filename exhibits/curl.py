"""What curl says."""

import shlex
import subprocess

from exhibits.core import CURL, CURL_WITH_OPENSSL, group
from exhibits.stage import free_port, hanging_up, served, servers, with_own_certificate
from shared.addresses import ISSUER

exhibit = group("curl")
TERMINAL = "In the terminal."


def curl(*words: str) -> str:
    """The command as a person types it, and what it says; without the progress bar, which pipes get."""
    done = subprocess.run(["curl", "--no-progress-meter", *words], capture_output=True, text=True, timeout=20)
    return f"$ {shlex.join(['curl', *words])}\n{done.stdout}{done.stderr}".strip()


@exhibit(
    "curl-refused",
    "curl: (7) Failed to connect to localhost port …",
    seen=TERMINAL,
    cause="Nobody listens on this port: the server is not running, runs on another port, or listens inside a "
    "container whose port is not published.",
    cure="Start it: `python -m steps serve` with the step's number. If it runs, compare the port.",
    step="01",
    needs=CURL,
)
def curl_refused() -> str:
    return curl(f"http://localhost:{free_port()}/health")


@exhibit(
    "curl-empty-reply",
    "curl: (52) Empty reply from server",
    seen=TERMINAL,
    cause="Something took the connection and closed it without a word: plain http to a port that speaks TLS, a "
    "proxy or a container without a program behind it, or a server that fell over.",
    cure="Try https. If that is not it, look at the server's log.",
    step="01",
    needs=CURL,
)
def curl_empty_reply() -> str:
    with hanging_up() as origin:
        return curl(f"{origin}/health")


@exhibit(
    "curl-self-signed",
    "curl: (60) SSL certificate problem: self-signed certificate",
    seen=TERMINAL,
    cause="The server's certificate was signed by nobody whom this computer trusts. So anybody could be answering.",
    cure="Trust your own authority (mkcert makes one), or name it: `curl --cacert`. `-k` switches off what "
    "protects the tokens.",
    step="07",
    needs=CURL_WITH_OPENSSL,
)
def curl_self_signed() -> str:
    with with_own_certificate() as origin:
        return curl(f"{origin}/health")


@exhibit(
    "curl-wrong-version",
    "SSL routines::wrong version number",
    seen=TERMINAL + " Behind `curl: (35)`.",
    cause="https was spoken to a port that speaks plain http, as the servers of the steps do on this computer.",
    cure="Write http:// for them. If the server is behind a proxy that ends TLS, use the proxy's port.",
    step="01",
    needs=CURL_WITH_OPENSSL,
)
def curl_wrong_version() -> str:
    with servers() as world, served(world.auth_server.app) as origin:
        return curl(f"{origin.replace('http:', 'https:')}/health")


@exhibit(
    "curl-malformed",
    "curl: (3) URL",
    seen=TERMINAL,
    cause="The address is not one, most often because something was pasted with blanks or a line break in it: the "
    "scopes of an authorization request, for example, stand in an address with `+` or `%20` between them.",
    cure="Let a library build the address, and put the whole of it into single quotes: the shell reads `&` too.",
    step="04",
    needs=CURL,
)
def curl_malformed() -> str:
    return curl(f"{ISSUER}/authorize?scope=mcp:tools:sentiment mcp:resources:customer-data:read")
