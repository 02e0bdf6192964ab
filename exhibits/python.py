"""What Python and its HTTP libraries say."""

import hmac
import os
import socket
import subprocess
import sys
from collections.abc import Callable

import anyio
import httpx2
import uvicorn

from exhibits.core import LINUX, group
from exhibits.logs import line_of
from exhibits.server_stage import INITIALIZE, open_server
from exhibits.stage import free_port, hanging_up, served, servers, with_own_certificate

exhibit = group("Python, httpx and uvicorn")
TRACEBACK = "At the end of a traceback."


def attempt(what: Callable[[], object]) -> str:
    try:
        return str(what())
    except Exception as error:
        return line_of(error)


@exhibit(
    "all-connection-attempts-failed",
    "ConnectError: All connection attempts failed",
    seen=TRACEBACK + " `httpx.ConnectError` in older programs.",
    cause="Nobody listens at this address, by none of the ways that its name stands for (127.0.0.1 and ::1).",
    cure="Start the server, or repair the port. From a container, `localhost` is the container.",
    step="01",
)
def all_connection_attempts_failed() -> str:
    async def ask() -> object:
        async with httpx2.AsyncClient() as http:
            return await http.get(f"http://localhost:{free_port()}/mcp")

    return attempt(lambda: anyio.run(ask))


@exhibit(
    "connection-refused",
    "[Errno 111] Connection refused",
    seen=TRACEBACK + " On macOS the number is 61, on Windows it is WinError 10061.",
    cause="The computer is there, and nobody listens on this port.",
    cure="Start the server, or repair the port.",
    step="01",
    needs=LINUX,
)
def connection_refused() -> str:
    return attempt(lambda: httpx2.get(f"http://127.0.0.1:{free_port()}/mcp"))


@exhibit(
    "server-disconnected",
    "RemoteProtocolError: Server disconnected without sending a response.",
    seen=TRACEBACK,
    cause="Something took the connection and closed it without a word: plain http to a port that speaks TLS, or a "
    "server that was restarted or fell over.",
    cure="Try https; look at the server's log.",
    step="01",
)
def server_disconnected() -> str:
    with hanging_up() as origin:
        return attempt(lambda: httpx2.get(f"{origin}/mcp"))


@exhibit(
    "certificate-verify-failed",
    "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: …",
    seen=TRACEBACK,
    cause="This Python trusts nobody who signed the server's certificate: it is self-signed, a company's proxy "
    "has put its own in its place, or a Python from python.org on macOS was installed without certificates.",
    cure="Make the authority known (`SSL_CERT_FILE`, on macOS `Install Certificates.command`). `verify=False` "
    "hands the tokens to whoever answers.",
    step="07",
)
def certificate_verify_failed() -> str:
    with with_own_certificate() as origin:
        return attempt(lambda: httpx2.get(f"{origin}/mcp"))


@exhibit(
    "wrong-version-number",
    "[SSL: WRONG_VERSION_NUMBER] wrong version number",
    seen=TRACEBACK,
    cause="https was spoken to a port that speaks plain http.",
    cure="Write http:// for servers on this computer.",
    step="01",
)
def wrong_version_number() -> str:
    with servers() as world, served(world.auth_server.app) as origin:
        return attempt(lambda: httpx2.get(f"{origin.replace('http:', 'https:')}/health"))


@exhibit(
    "missing-protocol",
    "UnsupportedProtocol: Request URL is missing an 'http://' or 'https://' protocol.",
    seen=TRACEBACK,
    cause="The address was written without its scheme: `localhost:8000/mcp`.",
    cure="Write the whole address. It is compared as text later, so write it as the server does.",
    step="01",
)
def missing_protocol() -> str:
    return attempt(lambda: httpx2.get("/mcp"))


@exhibit(
    "expecting-value",
    "JSONDecodeError: Expecting value: line 1 column 1 (char 0)",
    seen=TRACEBACK,
    cause="A program reads JSON and got something else: a page of HTML, an empty 401, a proxy's error. It did not "
    "look at the status first.",
    cure="Call `raise_for_status()` before `json()`, and look at the body.",
    step="06",
)
def expecting_value() -> str:
    with servers() as world:
        return attempt(lambda: world.mcp.post("/mcp").json())


@exhibit(
    "redirect-response",
    "Redirect response '307 Temporary Redirect' for url '…/mcp/'",
    seen=TRACEBACK + " In a server's log it is `POST /mcp/ HTTP/1.1\" 307 Temporary Redirect`.",
    cause="The address has a slash at the end that the endpoint does not have, or lacks one. Starlette and "
    "FastAPI redirect, and many clients do not follow with a POST, or follow without the `Authorization` header.",
    cure="Use the exact path of the endpoint. `/mcp` and `/mcp/` are two resources.",
    step="07",
)
def redirect_response() -> str:
    with open_server() as client:
        client.follow_redirects = False
        return attempt(lambda: client.post("/mcp/", json=INITIALIZE).raise_for_status())


@exhibit(
    "address-in-use",
    "[Errno 98] Address already in use",
    seen=TRACEBACK + " On macOS the number is 48, on Windows it is WinError 10048.",
    cause="Another program, often an older run of the same one, listens on the port.",
    cure="End it, or choose another port. `lsof -i :9000` (Windows: `netstat -ano`) names it.",
    step="01",
    needs=LINUX,
)
def address_in_use() -> str:
    with socket.create_server(("127.0.0.1", 0)) as first:
        return attempt(lambda: socket.create_server(first.getsockname()))


@exhibit(
    "uvicorn-address-in-use",
    "error while attempting to bind on address ('127.0.0.1', …): …",
    seen="In the log of uvicorn, which then ends.",
    cause="Another program, often an older run of the same one, listens on the port.",
    cure="End it, or choose another port: `--port`. For the servers of the steps: `AS_PORT`, `MCP_PORT`.",
    step="01",
)
def uvicorn_address_in_use() -> str:
    with socket.create_server(("127.0.0.1", 0)) as first:
        server = uvicorn.Server(
            uvicorn.Config(lambda: None, port=first.getsockname()[1], log_config=None, lifespan="off")
        )
        try:
            server.run()
        except SystemExit as end:
            return f"uvicorn ended with exit code {end.code}"
    return "uvicorn ended."


@exhibit(
    "no-module-httpx",
    "ModuleNotFoundError: No module named 'httpx'",
    seen=TRACEBACK,
    cause="Version 2 of the MCP SDK is built on `httpx2`, and no longer brings `httpx` along.",
    cure="`import httpx2`, which has the same functions, or install `httpx` for your own code.",
    step="04",
)
def no_module_httpx() -> str:
    return attempt(lambda: __import__("httpx"))


@exhibit(
    "compare-digest",
    "TypeError: comparing strings with non-ASCII characters is not supported",
    seen="In a server's log, with a traceback; the client gets 500.",
    cause="`hmac.compare_digest` takes text only if it is ASCII, and a stranger sent something else as a secret, "
    "a verifier or a password.",
    cure="Check the form first, or compare bytes: `.encode()` on both sides.",
    step="04",
)
def compare_digest() -> str:
    return attempt(lambda: hmac.compare_digest("a code_verifier with an ü", "a challenge"))


@exhibit(
    "charmap",
    "UnicodeEncodeError: 'charmap' codec can't encode character",
    seen="On Windows, when a program prints an arrow, a box or a name.",
    cause="The console, or the file that output is redirected to, has an old code page such as cp1252.",
    cure="Set `PYTHONUTF8=1`. The programs here degrade to ASCII by themselves.",
    step="01",
)
def charmap() -> str:
    program = [sys.executable, "-c", "print('client \\u2192 server')"]
    environment = os.environ | {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
    return subprocess.run(program, env=environment, capture_output=True, text=True).stderr
