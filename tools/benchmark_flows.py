"""How many flows and tokens our authorization server does in a second, on SQLite, beside the SDK's routes in memory."""

import json
import secrets
from collections.abc import Callable

from shared.stop import Stop
from tools import load, pairs
from tools.flows import Machine, SdkVisitor, Visitor
from tools.load import Lines
from tools.pairs import Row, Took
from tools.served import AUTH_PORTS, MCP_PORTS, Served, Servers

PART = "flows"
CONCURRENCY = (1, 8)
FLOWS = 0.6  # times those of the SDK in a second
INITIAL_ACCESS_TOKEN = secrets.token_urlsafe(32)
UNLIMITED = "999999999"


def settings(servers: Servers, port: int, **more: str) -> dict[str, str]:
    """An authorization server for measurements: signs with ES256, counts nobody's failures, knows alice."""
    mcp_port = more.pop("mcp_port", "") or str(servers.port(MCP_PORTS))
    folder = servers.subfolder("auth")
    return {
        "AS_PORT": str(port),
        "MCP_PORT": mcp_port,
        "AS_DATA": str(folder),
        "AS_AUDIT": str(folder / "audit.log"),
        "AS_SIGNING_ALGORITHM": "ES256",
        "AS_REQUESTS_PER_WINDOW": UNLIMITED,
        "AS_FAILURES_PER_WINDOW": UNLIMITED,
        "AS_INITIAL_ACCESS_TOKEN": INITIAL_ACCESS_TOKEN,
        "AS_DEMO": "1",
    } | more


def resource_of(told: dict[str, str]) -> str:
    return f"http://localhost:{told['MCP_PORT']}/mcp"


def burst(server: Served, lines: Lines, visitor: Visitor, flows: int) -> Took:
    """So many flows on each connection. Returns what one of them took."""
    total, before = flows * len(lines.lines), server.processor()
    took = lines.run(visitor.flows(flows) for _ in lines.lines)
    return Took(took / total, (server.processor() - before) / total)


class Both:
    """Ours and the SDK's, both up, with somebody signed in to each."""

    def __init__(self, servers: Servers, **more: str):
        port, other = servers.port(AUTH_PORTS), servers.port(AUTH_PORTS)
        told = settings(servers, port, **more)
        self.resource = resource_of(told)
        self.ours = servers.rival("auth_server", port, **told)
        about = {"ISSUER": f"http://localhost:{other}", "RESOURCE": self.resource}
        self.sdk = servers.rival("sdk_auth_server", other, **about)

    def compare(self, count: int, flows: int, times: int) -> pairs.Pairs:
        with load.connected(self.ours.port, count) as own, load.connected(self.sdk.port, count) as other:
            visitor, rival = Visitor(self.ours.host, self.resource), SdkVisitor(self.sdk.host, self.resource)
            visitor.sign_in(own)
            rival.sign_in(other)
            for _ in range(3):  # warm
                burst(self.ours, own, visitor, flows)
                burst(self.sdk, other, rival, flows)
            return pairs.alternate(
                lambda turn: burst(self.ours, own, visitor, flows),
                lambda turn: burst(self.sdk, other, rival, flows),
                times,
            )

    def machine(self, count: int, calls: int, times: int) -> Row:
        """client_credentials. There is nothing to compare them with: the SDK has none."""
        with load.connected(self.ours.port, count) as lines:
            wanted = [Machine(self.ours.host, self.resource, lines, INITIAL_ACCESS_TOKEN).wanted()] * calls
            what = f"client_credentials, ES256, {count} at once"
            took = [
                lines.run(load.repeated(wanted, 200, b'"access_token"', what) for _ in lines.lines)
                for _ in range(times + 2)
            ][2:]
        rates = sorted(calls * count / seconds for seconds in took)
        low, high = pairs.quartiles(rates)
        return Row(PART, what, rates[len(rates) // 2], "/s", low=low, high=high)


def rows(servers: Servers, quick: bool, say: Callable[[str], object]) -> list[Row]:
    times, total = (3, 8) if quick else (40, 16)
    both, found = Both(servers), []
    for count in CONCURRENCY:
        say(f"flows, {count} at once")
        took = both.compare(count, total // count, times)
        found.append(pairs.at_least(PART, f"full flows, ES256, {count} at once", took, "SDK routes, in memory", FLOWS))
        found.append(Row(PART, f"the same on the SDK's routes, {count} at once", 1 / took.theirs, "/s"))
    for count in CONCURRENCY:
        say(f"client_credentials, {count} at once")
        found.append(both.machine(count, 4 * total // count, times))
    for server in (both.ours, both.sdk):
        servers.end(server)
    return found


def where(servers: Servers, quick: bool, say: Callable[[str], object]) -> list[Row]:
    """Where the time of a flow goes, at one caller: SQL, signing, pages, the rest of our code, uvicorn."""
    flows = 20 if quick else 400
    port = servers.port(AUTH_PORTS)
    told = settings(servers, port, WHERE="1")
    server = servers.rival("auth_server", port, **told)
    say("where the time of a flow goes")
    with load.connected(port, 1) as lines:
        visitor = Visitor(server.host, resource_of(told))
        visitor.sign_in(lines)
        burst(server, lines, visitor, 20)
        asking = load.request("GET", "/where", server.host)
        lines.one(asking)  # what was before does not count
        took = burst(server, lines, visitor, flows)
        parts = json.loads(lines.one(asking).body)
    servers.end(server)
    if not took.cpu:
        raise Stop("--where needs a system that says how much processor time a thread has used, like Linux.")
    inside = parts.pop("app")
    shares = {name: seconds / flows for name, seconds in parts.items()}
    shares["the rest of our code"] = inside / flows - sum(shares.values())
    shares["uvicorn and the event loop"] = took.cpu - inside / flows
    return [
        Row("where", name, seconds * 1e6, "µs", "a whole flow", seconds / took.cpu) for name, seconds in shares.items()
    ]
