"""How fast the finished programs are there, and how much of this computer they take."""

import re
import statistics
from collections.abc import Callable

from tools import load, pairs
from tools.benchmark_flows import burst, resource_of, settings
from tools.flows import Visitor
from tools.load import Wrong
from tools.pairs import Pairs, Row, Took, at_most, below
from tools.served import AUTH_PORTS, MCP_PORTS, Served, Servers

PART = "start"
FIRST_ANSWER = 0.7  # seconds
RESIDENT = 90  # megabytes
AS_FAST = 1.15  # times the same MCP server without authorization
METADATA = "/.well-known/oauth-authorization-server"
IMPORTED = re.compile(r"\|\s+mcp(\.\S*)?$", re.MULTILINE)  # what `python -X importtime` says of it


def rows(servers: Servers, quick: bool, say: Callable[[str], object]) -> list[Row]:
    times = 2 if quick else 9
    return [*auth_server(servers, times, say), *mcp_server(servers, times, say)]


# ── the authorization server ──────────────────────────────────────────────────


def auth_server(servers: Servers, times: int, say: Callable[[str], object]) -> list[Row]:
    port = servers.port(AUTH_PORTS)
    told = settings(servers, port, AS_DEMO="0")
    say("start, authorization server")
    servers.end(begin(servers, port, told))  # makes keys and database, and whatever Python keeps of the modules
    fresh = settings(servers, port, AS_DEMO="0", mcp_port=told["MCP_PORT"])
    first = begin(servers, port, fresh)
    servers.end(first)
    took, busy, resident = [], [], []
    for _ in range(times):
        server = begin(servers, port, told)
        took.append(server.seconds)
        busy.append(server.processor())
        resident.append(server.resident())
        servers.end(server)
    middle = statistics.median
    return [
        below(PART, "authorization server: first metadata answer", middle(took), "s", FIRST_ANSWER, took),
        Row(PART, "authorization server: processor time until then", middle(busy), "s"),
        Row(PART, "authorization server: first answer, and makes its keys", first.seconds, "s"),
        below(PART, "authorization server: resident memory", middle(resident), "MB", RESIDENT, resident),
        *in_use(servers, port, told | {"AS_DEMO": "1"}, say),
    ]


def begin(servers: Servers, port: int, told: dict[str, str], *flags: str) -> Served:
    """As `python -m auth_server` starts it. Raises Wrong unless what it answers is metadata."""
    host = f"localhost:{port}"
    wanted = load.request("GET", METADATA, host)
    server = servers.start(["auth_server"], port, wanted, flags, **told)
    with load.connected(port, 1) as lines:
        load.expect(lines.one(wanted), 200, f'"http://{host}"'.encode(), METADATA)
    return server


def in_use(servers: Servers, port: int, told: dict[str, str], say: Callable[[str], object]) -> list[Row]:
    """After somebody has signed in and some flows are through: what it holds then, and that it never needed `mcp`."""
    say("start, authorization server in use")
    server = begin(servers, port, told, "-X", "importtime")
    with load.connected(port, 4) as lines:
        visitor = Visitor(server.host, resource_of(told))
        visitor.sign_in(lines)
        burst(server, lines, visitor, 25)
    resident, said = server.resident(), server.log.read_text(encoding="utf-8", errors="replace")
    servers.end(server)
    if "auth_server.app" not in said:
        raise Wrong("The authorization server did not say what it imports.")
    imports = len(set(IMPORTED.findall(said)))
    return [
        Row(PART, "authorization server: resident after 100 flows", resident, "MB"),
        below(PART, "authorization server: modules of mcp imported", imports, "modules", 0),
    ]


# ── the MCP server ────────────────────────────────────────────────────────────


def mcp_server(servers: Servers, times: int, say: Callable[[str], object]) -> list[Row]:
    port, other = servers.port(MCP_PORTS), servers.port(MCP_PORTS)
    issuer = f"http://localhost:{servers.port(AUTH_PORTS)}"  # nobody is asked for keys before the first token
    told = {"OAUTH_ISSUER": issuer, "OAUTH_AUDIENCE": f"http://localhost:{port}/mcp"}
    told |= {"AUDIT_LOG": str(servers.subfolder("mcp") / "audit.log")}
    found = []
    for what, words, against, rival in (
        ("python -m mcp_server", ["mcp_server"], "its tools, unprotected", "market"),
        (
            "five lines around one tool",
            ["tools.serve_one", "protected", str(port)],
            "the same, unprotected",
            "unprotected",
        ),
    ):
        say(f"start, {what}")

        def ours(turn: int) -> Took:
            return started(servers, words, port, told)

        def theirs(turn: int) -> Took:
            return started(servers, ["tools.serve_one", rival, str(other)], other, {})

        ours(0), theirs(0)  # whatever is slow only the first time
        took: Pairs = pairs.alternate(ours, theirs, times)
        found.append(at_most(PART, f"{what}: first answer", "s", took, against, AS_FAST))
    return found


def started(servers: Servers, words: list[str], port: int, told: dict[str, str]) -> Took:
    server = servers.start(words, port, load.request("GET", "/mcp", f"localhost:{port}"), **told)
    took = Took(server.seconds, server.processor())
    servers.end(server)
    return took
