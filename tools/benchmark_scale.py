"""Whether our authorization server stays as fast when it knows many, and forgets what is over."""

import json
import secrets
import sqlite3
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tools import load, pairs
from tools.benchmark_flows import INITIAL_ACCESS_TOKEN, resource_of, settings
from tools.flows import Machine, Visitor
from tools.load import Lines, Script, Wrong
from tools.pairs import Pairs, Row, Took
from tools.served import AUTH_PORTS, Served, Servers

PART = "scale"
FEW, MANY = 1000, 100_000  # stored clients
AS_LONG = 1.10  # times the latency
AT_ONCE = 1000  # rows in one statement
LIFETIMES = ("AS_CODE_LIFETIME", "AS_TOKEN_LIFETIME", "AS_REFRESH_LIFETIME", "AS_ASK_LIFETIME", "AS_PURGE_EVERY")
FORGOTTEN_WITHIN = 15  # seconds
WEBSITE = "https://client.example/callback"


def rows(servers: Servers, quick: bool, say: Callable[[str], object]) -> list[Row]:
    return [*latencies(servers, quick, say), *leftovers(servers, quick, say)]


# ── many clients ──────────────────────────────────────────────────────────────


def latencies(servers: Servers, quick: bool, say: Callable[[str], object]) -> list[Row]:
    few, many, times = (10, 100, 5) if quick else (FEW, MANY, 300)
    small, large = Stocked(servers, few, say), Stocked(servers, many, say)
    say(f"scale, {few:,} clients and {many:,}")
    found: dict[str, list[tuple[Took, Took]]] = {}
    for turn in range(times + 5):
        first, second = (large, small) if turn % 2 else (small, large)
        first.once(), second.once()
        if turn >= 5:  # warm by then
            for name in large.latest:
                found.setdefault(name, []).append((large.latest[name], small.latest[name]))
    for stocked in (small, large):
        stocked.lines.close()
        servers.end(stocked.server)
    against = f"at {few:,}"
    return [
        pairs.at_most(PART, f"{name}, {many:,} stored clients", "ms", Pairs(taken), against, AS_LONG)
        for name, taken in found.items()
    ]


class Stocked:
    """A server with so many clients in its database. `latest`: what each endpoint took in the last `once`.

    Each flow is that of another client, so that it is not always the same few pages of the database that are read.
    """

    def __init__(self, servers: Servers, clients: int, say: Callable[[str], object]):
        port = servers.port(AUTH_PORTS)
        told = settings(servers, port)
        resource, database = resource_of(told), database_of(told)
        first = servers.rival("auth_server", port, **told)  # it makes the tables
        with load.connected(port, 1) as lines:
            lines.run([Visitor(first.host, resource).register()])
        servers.end(first)
        say(f"scale, storing {clients:,} clients")
        self.known = stock(database, clients)
        self.server = servers.rival("auth_server", port, **told)
        self.lines = Lines(port, 1)
        self.visitor = Visitor(self.server.host, resource)
        self.visitor.sign_in(self.lines)
        self.machine = Machine(self.server.host, resource, self.lines, INITIAL_ACCESS_TOKEN).wanted()
        self.latest: dict[str, Took] = {}

    def once(self) -> None:
        self.visitor.took.clear()
        self.lines.run([self.all_of_it()])
        took = self.visitor.took
        names = {"/token": "/token, a code", "machine": "/token, a machine", "/authorize": "/authorize"}
        self.latest = {words: Took(statistics.mean(took[name])) for name, words in names.items()}

    def all_of_it(self) -> Script:
        for _ in range(3):
            yield from self.visitor.flow(secrets.choice(self.known))
            yield from self.visitor.asked("machine", self.machine, 200, b'"access_token"')


def database_of(told: dict[str, str]) -> Path:
    found = list(Path(told["AS_DATA"]).glob("*.db"))
    return found[0] if found else Path(told["AS_DATA"]) / "auth_server.db"


def stock(database: Path, count: int) -> list[str]:
    """More clients, as copies of one that registered itself. Returns their names."""
    made = [secrets.token_urlsafe(16) for _ in range(count)]
    with closing(sqlite3.connect(database)) as connection, connection:
        cursor = connection.execute("SELECT * FROM clients LIMIT 1")
        names = [column[0] for column in cursor.description]
        one = dict(zip(names, cursor.fetchone(), strict=True))
        marks = ", ".join("?" * len(names))
        for begin in range(0, count, AT_ONCE):
            many = (copy(one, name) for name in made[begin : begin + AT_ONCE])
            connection.executemany(f"INSERT INTO clients ({', '.join(names)}) VALUES ({marks})", many)
    return made


def copy(one: dict, name: str) -> tuple:
    """The same client under another name."""
    about = json.dumps(json.loads(one["registered"]) | {"client_id": name})
    return tuple((one | {"client_id": name, "registered": about}).values())


# ── what is left of a flow ────────────────────────────────────────────────────


def leftovers(servers: Servers, quick: bool, say: Callable[[str], object]) -> list[Row]:
    """Row counts of all tables: before some flows, right after them, and once everything has expired."""
    flows, port = (3 if quick else 50), servers.port(AUTH_PORTS)
    lifetimes = dict.fromkeys(LIFETIMES, "2") | {"AS_UNUSED_CLIENT_LIFETIME": "3"}
    told = settings(servers, port, **lifetimes)
    server = servers.rival("auth_server", port, **told)
    say("scale, what is left of a flow")
    before, during, after = counted(server, told, flows)
    servers.end(server)
    left = {name: after[name] - before[name] for name in after if after[name] > before[name]}
    what = f"rows left of {2 * flows} flows once all has expired"
    if left:
        what += f" ({', '.join(f'{number} in {name}' for name, number in left.items())})"
    return [
        Row(PART, f"rows made by {2 * flows} flows", sum(during.values()) - sum(before.values()), "rows"),
        pairs.below(PART, what, sum(left.values()), "rows", 0),
    ]


def counted(server: Served, told: dict[str, str], flows: int) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    resource, database = resource_of(told), database_of(told)
    with load.connected(server.port, 1) as lines:
        native = Visitor(server.host, resource, refreshing=True)
        website = Visitor(server.host, resource, WEBSITE, refreshing=True)  # its consent is remembered
        native.sign_in(lines)
        website.session = native.session
        before = quiet(database, {"sessions": 1})
        lines.run([native.flows(flows)])
        lines.run([website.flows(flows)])
        during = counts(database)
    return before, during, quiet(database, before)


def quiet(database: Path, wanted: dict[str, int]) -> dict[str, int]:
    """The counts once nothing changes any more, or nothing is left but what is wanted."""
    deadline = time.monotonic() + FORGOTTEN_WITHIN
    while True:
        now = counts(database)
        if all(now[name] <= wanted.get(name, 0) for name in now if name not in ("people", "resources")):
            return now
        if time.monotonic() > deadline:
            return now
        time.sleep(0.5)


def counts(database: Path) -> dict[str, int]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        if "clients" not in tables:
            raise Wrong(f"{database} is not the database of an authorization server.")
        return {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}
