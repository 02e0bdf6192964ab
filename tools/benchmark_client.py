"""How long somebody waits for one call from the command line, with a token that is there already."""

import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from tools import load, pairs
from tools.benchmark_flows import resource_of, settings
from tools.flows import SCOPES, Visitor, carrying, hidden_fields
from tools.load import Answer, Script, Wrong, expect
from tools.pairs import Row, Took, below
from tools.served import AUTH_PORTS, Servers, environment, on_the_servers_core

PART = "client"
AT_MOST = 1.2  # seconds
CALL = ["client", "call", "score_headline", "headline=ACME soars"]
LINE_LIMIT = 50  # lines that a client may say before it shows an address
PATIENCE = 30  # seconds


def rows(servers: Servers, quick: bool, say: Callable[[str], object]) -> list[Row]:
    times, port = (2 if quick else 7), servers.port(AUTH_PORTS)
    told = settings(servers, port)
    resource, home = resource_of(told), servers.subfolder("home")
    auth = servers.rival("auth_server", port, **told)
    mcp = servers.start(
        ["mcp_server"],
        int(told["MCP_PORT"]),
        OAUTH_ISSUER=f"http://{auth.host}",
        OAUTH_AUDIENCE=resource,
        AUDIT_LOG=str(home / "audit.log"),
    )
    own = at_home(home) | {"MCP_SERVER": resource}
    say("client, logging in")
    log_in(own, Visitor(auth.host, resource))
    taken = tokens_made(told)
    say("client, calling")
    ours, imports = ["-m", *CALL], ["-c", "import mcp"]
    run(ours, own), run(imports, own)  # whatever is slow only the first time
    found = pairs.alternate(lambda turn: timed(ours, own), lambda turn: timed(imports, own), times)
    if tokens_made(told) != taken:
        raise Wrong("The client has asked for a token, though it had a good one.")
    for server in (auth, mcp):
        servers.end(server)
    walls, busy = [took.wall for took, _ in found.taken], statistics.median(took.cpu for took, _ in found.taken)
    return [
        below(PART, "call with a stored token", found.ours, "s", AT_MOST, walls),
        Row(PART, "python -c 'import mcp'", found.theirs, "s"),
        Row(PART, "processor time of a call", busy, "s", "import mcp", cpu=found.cpu()),
    ]


def at_home(home: Path) -> dict[str, str]:
    """Nobody's own keyring or files are touched."""
    own = {name: str(home) for name in ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "XDG_CONFIG_HOME")}
    return own | {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}


def tokens_made(told: dict[str, str]) -> int:
    return Path(told["AS_AUDIT"]).read_text(encoding="utf-8").count("/token")


def timed(words: list[str], own: dict[str, str]) -> Took:
    began, before = time.perf_counter(), of_children()
    run(words, own)
    return Took(time.perf_counter() - began, of_children() - before)


def of_children() -> float:
    """Seconds of processor time of all processes that we have seen end."""
    times = os.times()
    return times.children_user + times.children_system


def run(words: list[str], own: dict[str, str]) -> None:
    """Raises Wrong unless it ends well, as the client does when the tool has answered."""
    with on_the_servers_core():
        process = subprocess.Popen(
            [sys.executable, *words],
            env=environment(**own),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    out, err = process.communicate(timeout=PATIENCE)
    if process.returncode or (CALL[0] in words and not re.search(rb"[0-9]", out)):
        raise Wrong(f"`python {' '.join(words)}` did not do it. {(err or out).decode(errors='replace')[-300:].strip()}")


# ── logging in ────────────────────────────────────────────────────────────────


def log_in(own: dict[str, str], visitor: Visitor) -> None:
    """`login --no-browser`: it shows an address; we go there, allow it, and paste the address where that ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "client", "--no-browser", "login"],
        env=environment(**own),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        said = [process.stderr.readline().decode(errors="replace")]
        while not (shown := re.search(r"http://\S+/authorize\?\S+", said[-1])):
            if not said[-1] or len(said) > LINE_LIMIT:
                raise Wrong(f"`python -m client login` shows no address. {''.join(said)[-300:].strip()}")
            said.append(process.stderr.readline().decode(errors="replace"))
        process.communicate(f"{way_home(shown[0], visitor)}\n".encode(), PATIENCE)
        if process.returncode:
            raise Wrong("`python -m client login` did not end well.")
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def way_home(address: str, visitor: Visitor) -> str:
    """Where a browser ends up that opens this address, and whose owner signs in and says yes."""
    there, answers = urlsplit(address), list[Answer]()
    with load.connected(there.port, 1) as lines:
        lines.run([visiting(f"{there.path}?{there.query}", visitor, answers)])
    return answers[0].header("location")


def visiting(path: str, visitor: Visitor, answers: list[Answer]) -> Script:
    host, origin = visitor.host, {"Origin": f"http://{visitor.host}"}
    page = expect((yield load.request("GET", path, host)), 200, b'name="password"', "/authorize")
    cookies = page.cookies()
    who = [*hidden_fields(page).items(), ("username", "alice"), ("password", "wonderland")]
    inside = expect((yield load.form("/login", host, who, carrying(cookies) | origin)), 303, b"session=", "/login")
    cookies |= inside.cookies()
    there = urlsplit(inside.header("location"))
    wanted = load.request("GET", f"{there.path}?{there.query}", host, carrying(cookies))
    page = expect((yield wanted), 200, b'name="decision"', "/consent")
    yes = [*hidden_fields(page).items(), *(("scope", scope) for scope in SCOPES), ("decision", "allow")]
    wanted = load.form("/consent", host, yes, carrying(cookies) | origin)
    answers.append(expect((yield wanted), 303, b"code=", "/consent"))
