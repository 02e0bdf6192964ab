"""What the authorization server keeps: once is once, secrets are hashes, and what is over is forgotten."""

import contextlib
import secrets
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

import auth_server.database
from attacks.loaded import Loaded
from auth_server import tables
from auth_server.database import Database
from auth_server.storage import Client, Grant, Store
from shared.addresses import RESOURCE
from tests.auth_house import BOTH, WATCHER, House
from tools.environment import ROOT

POSIX_ONLY = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other rights")
NOW = 1_000_000.0


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'a.db'}")
    yield database
    database.close()


@pytest.fixture
def house(loaded_programs: Loaded) -> Iterator[House]:
    with House(loaded=loaded_programs) as house:
        yield house


def allow(store: Store, code: str, expires_at: float = NOW + 60) -> Grant:
    """A person has allowed something, and this code came of it."""
    ask = secrets.token_urlsafe(8)
    store.add_ask(ask, {}, "a browser", expires_at)
    grant = Grant(secrets.token_urlsafe(16), "a client", "alice", RESOURCE, "a", NOW, expires_at)
    about = {"code": code, "redirect_uri": "https://x", "code_challenge": "c" * 43, "expires_at": expires_at}
    assert store.answer_ask(ask, grant, about, NOW, remember=False)
    return grant


def rows(database: Database) -> dict[str, int]:
    with database.look() as db:
        return {
            table.name: db.execute(select(func.count()).select_from(table)).scalar()
            for table in tables.metadata.sorted_tables
        }


# ── once ──────────────────────────────────────────────────────────────────────


def at_once(count: int, what) -> list[object]:
    """From so many threads, none of which begins before all are there."""
    barrier = threading.Barrier(count)

    def one(number: int) -> object:
        barrier.wait()
        return what(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_of_many_threads_one_uses_a_code(database: Database) -> None:
    store = Store(database)
    for number in range(5):
        allow(store, f"code {number}")
        held = store.held("code", f"code {number}")
        won = at_once(8, lambda n, held=held: store.use(held, NOW, f"{held.hash.hex()} {n}", NOW + 100))
        assert won.count(True) == 1
        found = [store.held("refresh_token", f"{held.hash.hex()} {n}") is not None for n in range(8)]
        assert found == won, "its successor is there, and nobody else's"


def test_of_many_threads_one_uses_a_refresh_token(database: Database) -> None:
    store = Store(database)
    allow(store, "code")
    store.use(store.held("code", "code"), NOW, "token", NOW + 100)
    held = store.held("refresh_token", "token")
    won = at_once(8, lambda n: store.use(held, NOW, f"next {n}", NOW + 200))
    assert won.count(True) == 1
    assert [store.held("refresh_token", f"next {n}") is not None for n in range(8)] == won


def test_of_many_answers_to_one_page_one_counts(database: Database) -> None:
    store = Store(database)
    store.add_ask("ask", {"a": "b"}, "a browser", NOW + 60)
    grants = [Grant(f"grant {n}", "a client", "alice", RESOURCE, "a", NOW, NOW + 60) for n in range(8)]

    def answer(number: int) -> bool:
        about = {"code": f"code {number}", "redirect_uri": "", "code_challenge": "c", "expires_at": NOW + 60}
        return store.answer_ask("ask", grants[number], about, NOW, False) if number % 2 else store.drop_ask("ask")

    won = at_once(8, answer)
    assert won.count(True) == 1
    codes = [store.held("code", f"code {n}") is not None for n in range(8)]
    assert codes == [bool(n % 2 and won[n]) for n in range(8)]


def test_an_assertion_is_seen_for_the_first_time_once(database: Database) -> None:
    store = Store(database)
    assert at_once(8, lambda _: store.first_sight("a client", "a number", NOW + 60)).count(True) == 1
    assert store.first_sight("another client", "a number", NOW + 60)


USER_OF_CODES = """
import sys, time
from auth_server.database import Database
from auth_server.storage import Store
store = Store(Database(sys.argv[1]))
while time.time() < float(sys.argv[2]):
    pass
for number in range(60):
    held = store.held("code", f"code {number}")
    print(int(store.use(held, 1.0, f"{sys.argv[3]} {number}", 2e6)))
"""


def test_two_processes_do_not_use_the_same_code(database: Database) -> None:
    store = Store(database)
    for number in range(60):
        allow(store, f"code {number}")
    begin = str(time.time() + 4)
    command = [sys.executable, "-c", USER_OF_CODES, str(database.engine.url), begin]
    both = [subprocess.Popen([*command, name], cwd=ROOT, stdout=subprocess.PIPE, text=True) for name in "ab"]
    won = [[line == "1" for line in process.communicate(timeout=60)[0].split()] for process in both]
    assert [len(one) for one in won] == [60, 60]
    assert all(a != b for a, b in zip(*won, strict=True)), "each by one of them"
    for name, one in zip("ab", won, strict=True):
        assert [store.held("refresh_token", f"{name} {number}") is not None for number in range(60)] == one


def test_while_another_process_writes_everybody_else_is_served(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = Store(database), sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    took = []

    async def six_at_once() -> None:
        async with anyio.create_task_group() as group:
            for number in range(6):
                group.start_soon(store.ask, store.add_client, Client(f"client {number}", {}), NOW, None)
            await anyio.sleep(0)
            began = time.monotonic()
            assert await store.ask(store.client, "client 0") is None
            took.append(time.monotonic() - began)
            other.execute("COMMIT")

    other.execute("BEGIN IMMEDIATE")
    anyio.run(six_at_once)
    assert took[0] < 0.5
    assert len(store.all_clients()) == 6, "and whoever waited was served then"
    monkeypatch.setattr(auth_server.database, "BUSY", 0.1)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OperationalError):
        anyio.run(store.ask, store.purge, NOW)
    other.close()


def test_two_processes_may_start_on_nothing_at_the_same_time(tmp_path: Path) -> None:
    code = "import sys; from auth_server.database import Database; Database(sys.argv[1]); print('made')"
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path / 'new' / 'a.db'}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    all_four = [subprocess.Popen(command, cwd=ROOT, **pipes) for _ in range(4)]
    said = [process.communicate(timeout=60) for process in all_four]
    assert [out for out, _ in said] == ["made\n"] * 4, said


def test_of_ten_who_redeem_a_code_at_once_one_gets_a_token_and_then_all_have_nothing(house: House) -> None:
    """Two know the code and its verifier: OAuth 2.1 §7.5.3."""
    client_id = house.register(grant_types=BOTH)["client_id"]
    form = {"grant_type": "authorization_code", "client_id": client_id, "code": house.code(client_id)}
    form |= {"code_verifier": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"}
    answers = house.at_once(10, "/token", form, ("127.0.0.1", 1))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 9
    won = next(answer.json() for answer in answers if answer.status_code == 200)
    assert house.refresh(client_id, won["refresh_token"]).status_code == 400


# ── hashes ────────────────────────────────────────────────────────────────────


def test_nothing_that_opens_a_door_is_in_the_file(house: House) -> None:
    house.let_introspect()
    confidential = house.register(token_endpoint_auth_method="client_secret_post", grant_types=BOTH)
    client_id, tokens = house.with_refresh()
    newer = house.refresh(client_id, tokens["refresh_token"]).json()
    house.auth.post("/revoke", data={"token": newer["access_token"], "client_id": client_id})
    unused, waiting = house.code(client_id), house.page(house.ask(client_id))
    known = {*house.secrets, *house.auth.cookies.values(), confidential["client_secret"], WATCHER[1], unused}
    known |= {tokens["access_token"], tokens["refresh_token"], newer["refresh_token"], *waiting["request"]}
    known |= set(waiting["form"])
    files = [path for path in Path(house.folder).glob("auth_server.db*") if path.is_file()]
    kept = b"".join(path.read_bytes() for path in files)
    assert b"alice" in kept and client_id.encode() in kept, "we look in the right place"
    assert len(known) > 15
    assert [secret for secret in known if secret.encode() in kept] == []


@POSIX_ONLY
def test_nobody_else_can_read_the_file(house: House) -> None:
    house.register()
    files = list(Path(house.folder).glob("auth_server.db*"))
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


# ── what is over ──────────────────────────────────────────────────────────────


def test_nothing_stays_of_a_flow_after_its_tokens_have_expired(house: House) -> None:
    before = rows(house.server.database)
    for grant_types in (["authorization_code"], BOTH):
        client_id = house.register(grant_types=grant_types)["client_id"]
        found = house.tokens(client_id)
        if "refresh_token" in found:
            house.refresh(client_id, found["refresh_token"])
        house.auth.post("/revoke", data={"token": found["access_token"], "client_id": client_id})
        house.auth.get("/authorize", params=house.ask(client_id))
    house.later(601)
    house.store.purge(house.clock.time())
    assert rows(house.server.database)["grants"] == 2, "the code could be shown until now, and one grant lives on"
    house.later(60)
    house.store.purge(house.clock.time())
    assert rows(house.server.database)["grants"] == 1
    house.later(house.server.settings.refresh_lifetime)
    house.store.purge(house.clock.time())
    assert rows(house.server.database) == before | {"clients": 2}
    house.later(house.server.settings.unused_client_lifetime)
    house.store.purge(house.clock.time())
    assert rows(house.server.database) == before


def test_what_still_matters_stays(house: House) -> None:
    client_id, found = house.with_refresh()
    newer = house.refresh(client_id, found["refresh_token"]).json()
    house.later(3600)
    house.store.purge(house.clock.time())
    assert house.refresh(client_id, found["refresh_token"]).status_code == 400, "reuse is still recognized"
    assert house.refresh(client_id, newer["refresh_token"]).status_code == 400, "and ends everything"


def test_it_is_purged_while_the_server_runs(loaded_programs: Loaded) -> None:
    with House(loaded=loaded_programs, purge_every=1) as house:
        house.store.add_ask("old", {}, "a browser", house.clock.time() - 1)
        assert house.auth.get("/health").status_code == 200
        house.store.add_ask("older", {}, "a browser", house.clock.time() - 1)
        until = time.monotonic() + 10
        while rows(house.server.database)["asks"] and time.monotonic() < until:
            time.sleep(0.1)
        assert rows(house.server.database)["asks"] == 0
        text = house.from_here().get("/metrics").text
        assert "auth_server_purged_rows_total 2.0" in text


def test_a_purge_that_fails_is_tried_again(loaded_programs: Loaded, caplog: pytest.LogCaptureFixture) -> None:
    with House(loaded=loaded_programs, purge_every=1) as house:
        purge, failures = house.store.purge, [OperationalError("DELETE", {}, Exception("locked"))]
        house.store.purge = lambda now: purge(now) if not failures else throw(failures.pop())
        house.store.add_ask("old", {}, "a browser", house.clock.time() - 1)
        house.auth.get("/health")
        until = time.monotonic() + 10
        while rows(house.server.database)["asks"] and time.monotonic() < until:
            time.sleep(0.1)
        assert rows(house.server.database)["asks"] == 0
    assert "purge: OperationalError" in caplog.text


def throw(error: Exception) -> None:
    raise error


def test_what_was_acknowledged_is_there_after_the_end(database: Database, tmp_path: Path) -> None:
    store = Store(database)
    store.add_client(Client("a client", {"client_name": "x"}), NOW, None)
    allow(store, "code")
    copy = tmp_path / "as after a crash.db"
    for end in ("", "-wal"):
        if (path := tmp_path / f"a.db{end}").exists():
            (tmp_path / f"{copy.name}{end}").write_bytes(path.read_bytes())
    there = Database(f"sqlite:///{copy}")
    again = Store(there)
    assert again.client("a client").registered == {"client_name": "x"}
    assert again.use(again.held("code", "code"), NOW)
    there.close()


def test_a_database_of_an_earlier_version_gets_what_it_lacks(tmp_path) -> None:
    url = f"sqlite:///{tmp_path / 'auth.db'}"
    Database(url).close()
    with contextlib.closing(sqlite3.connect(tmp_path / "auth.db")) as older:
        older.execute("ALTER TABLE clients DROP COLUMN not_before")
    database = Database(url)
    store = Store(database)
    store.add_client(Client("a", {"client_name": "A"}), 1.0, None)
    assert store.client("a").not_before is None
    database.close()
