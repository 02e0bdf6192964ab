"""The three finished programs as three processes, over TLS with a certificate authority of our own.

`make together`: starts both servers, lets a visitor sign alice in for the client, calls a tool, and stops everything.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import httpx2

from shared import console
from shared.addresses import AS_PORT, MCP_PORT
from shared.browser import Form
from shared.serving import check_free
from shared.stop import Stop
from tools import certs
from tools.environment import ROOT

ISSUER, RESOURCE = f"https://localhost:{AS_PORT}", f"https://localhost:{MCP_PORT}/mcp"
PATIENCE = 60  # seconds
TALKS = (
    ["login"],
    ["tools"],
    ["call", "score_headline", "headline=ACME profit beats forecasts, shares soar"],
    ["call", "rebalance", 'portfolio={"ACME": 60, "GLOBEX": 40}'],
    ["logout"],
)


def main() -> None:
    check_free([AS_PORT, MCP_PORT])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        certs.make(folder)
        environ = os.environ | {
            "AS_ISSUER": ISSUER,
            "AS_DATA": str(folder / "auth_server"),
            "AS_CERTIFICATE": str(folder / certs.CERTIFICATE),
            "AS_KEY": str(folder / certs.KEY),
            "OAUTH_ISSUER": ISSUER,
            "OAUTH_AUDIENCE": RESOURCE,
            "SSL_CERT_FILE": str(folder / certs.CA),
            "MCP_CLIENT_STORE": str(folder / "client.json"),
            "NO_COLOR": "1",
        }
        certificate = ["--certificate", str(folder / certs.CERTIFICATE), "--key", str(folder / certs.KEY)]
        stack.enter_context(program("auth_server", ["--demo"], f"{ISSUER}/health", environ, folder))
        stack.enter_context(
            program("mcp_server", certificate, f"{RESOURCE.removesuffix('/mcp')}/ready", environ, folder)
        )
        for words in TALKS:
            talk(words, environ)


@contextlib.contextmanager
def program(module: str, words: list[str], up: str, environ: dict[str, str], folder: Path) -> Iterator[None]:
    """One server, until the block ends. What it says goes to a file, which is shown if it does not come up."""
    log = folder / f"{module}.log"
    with log.open("wb") as file:
        command = [sys.executable, "-m", module, *words]
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    try:
        wait_for(process, up, environ["SSL_CERT_FILE"], log)
        console.line((f"{module} answers at {up}", "dim"))
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=PATIENCE)


def wait_for(process: subprocess.Popen, url: str, ca: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx2.TransportError):
            if httpx2.get(url, verify=trusting(ca)).status_code == 200:
                return
        time.sleep(0.1)
    raise Stop(f"{url} does not answer. It said:\n{log.read_text(encoding='utf-8', errors='replace')}")


def trusting(ca: str) -> object:
    import ssl

    return ssl.create_default_context(cafile=ca)


def talk(words: list[str], environ: dict[str, str]) -> None:
    """Run the client. Whenever it wants its user to open a page, the visitor does."""
    shown = " ".join(f"'{word}'" if " " in word else word for word in words)
    console.line((f"\nclient {shown}", "bold"))
    command = [sys.executable, "-m", "client", "--server", RESOURCE, "--no-browser", *words]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=environ, **pipes) as process:
        aside = threading.Thread(target=read_aside, args=(process, environ["SSL_CERT_FILE"]), daemon=True)
        aside.start()
        for row in process.stdout:
            console.line(row.rstrip())
        aside.join(timeout=PATIENCE)
        process.stdin.close()
    if process.returncode:
        raise Stop(f"The client ended with {process.returncode}.")


def read_aside(process: subprocess.Popen, ca: str) -> None:
    for row in process.stderr:
        console.line((row.rstrip(), "dim"))
        if re.match(r"https://\S+/authorize\?", row.strip()):
            threading.Thread(target=visit, args=(row.strip(), ca), daemon=True).start()


def visit(url: str, ca: str) -> None:
    """Do what alice would do: sign in, allow, and go where that leads."""
    with httpx2.Client(verify=trusting(ca), timeout=10, follow_redirects=True) as browser:
        page = browser.get(url)
        for _ in ("login", "consent"):
            form = Form(page.text)
            if form.action is None:
                return
            body: dict[str, list[str]] = {}
            for name, value in [*form.fields, *(button for button in form.buttons if button[1] == "allow")]:
                body.setdefault(name, []).append({"username": "alice", "password": "wonderland"}.get(name, value))
            page = browser.post(urljoin(str(page.url), form.action), data=body)


if __name__ == "__main__":
    console.run(main)
