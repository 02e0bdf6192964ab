"""Where the finished client keeps its secrets, and that only one caller at a time renews them."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import anyio
import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends.fail import Keyring as Failing
from keyring.errors import KeyringLocked, PasswordDeleteError
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

from client.belongings import Belongings
from client.options import Options
from client.storage import File, Keyring, Store, lock_at, open_store, taken, usable_keyring
from shared.stop import Stop
from tests.finished_client import ISSUER, OTHER, RESOURCE, nobody_holds
from tools.environment import ROOT

pytestmark = pytest.mark.anyio
HERE = Options(RESOURCE)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class InMemory(KeyringBackend):
    priority = 1
    name = "in memory"

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        assert len(password.encode("utf-16")) <= 2560, "more than Windows takes"
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if (service, username) not in self.kept:
            raise PasswordDeleteError
        del self.kept[service, username]


class Locked(InMemory):
    def get_password(self, service: str, username: str) -> str | None:
        raise KeyringLocked("the secret is " + "s3cret")


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("MCP_CLIENT_STORE", raising=False)
    before = keyring.get_keyring()
    yield tmp_path / "config" / "mcp-oauth-client"
    keyring.set_keyring(before)


BOTH = [lambda folder: File(folder / "kept.json"), lambda folder: Keyring(InMemory())]


@pytest.fixture(params=BOTH, ids=["file", "keyring"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(request.param(tmp_path), tmp_path)


# ── both ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("length", [0, 10, 999, 1000, 1001, 5000])
def test_what_is_kept_comes_back_whole(store: Store, length: int) -> None:
    for text in ("x" * length, "y" * 3000, "z"):
        store.write("a", "b", value={"text": text})
        assert store.read("a", "b") == {"text": text}
    store.write("a", "b", value={})
    store.write("a", "b", value={})
    assert store.read("a", "b") == {}


def test_nothing_stays_behind_in_the_keyring(tmp_path: Path) -> None:
    ring = InMemory()
    store = Store(Keyring(ring), tmp_path)
    store.write("a", value={"text": "x" * 5000})
    store.write("a", value={"text": "short"})
    assert len(ring.kept) == 1
    store.write("a", value={"text": "x" * 5000})
    store.write("a", value={})
    assert ring.kept == {}


async def test_tokens_are_kept_by_issuer_and_server(store: Store) -> None:
    for issuer, server in [(ISSUER, RESOURCE), (OTHER, RESOURCE), (ISSUER, "http://localhost:8001/mcp")]:
        held = Belongings(store, Options(server), lambda _: None)
        held.issuer = issuer
        await held.set_tokens(OAuthToken(access_token=f"{issuer} {server}"))
        await held.set_client_info(OAuthClientInformationFull(client_id=issuer))
    held = Belongings(store, HERE)
    assert held.issuer == OTHER and (await held.get_tokens()).access_token == f"{OTHER} {RESOURCE}"
    held.issuer = ISSUER
    assert (await held.get_client_info()).client_id == ISSUER
    held.forget_tokens()
    assert await held.get_tokens() is None
    assert (await Belongings(store, Options("http://localhost:8001/mcp")).get_tokens()).access_token


async def test_a_machine_and_a_person_do_not_share_tokens(store: Store) -> None:
    machine = Options(RESOURCE, is_machine=True, client_id="x", client_secret="y", issuer=ISSUER)
    for options, token in ((HERE, "the person's"), (machine, "the machine's")):
        held = Belongings(store, options, lambda _: None)
        held.issuer = ISSUER
        await held.set_tokens(OAuthToken(access_token=token))
    assert (await Belongings(store, HERE).get_tokens()).access_token == "the person's"


async def test_a_machine_holds_nothing_of_another_issuer(store: Store) -> None:
    for issuer in (ISSUER, OTHER):
        machine = Options(RESOURCE, is_machine=True, client_id="x", client_secret="y", issuer=issuer)
        held = Belongings(store, machine, lambda _: None)
        assert await held.get_tokens() is None
        await held.set_tokens(OAuthToken(access_token="t"))


async def test_it_says_once_where_it_keeps_them(store: Store) -> None:
    said: list[str] = []
    for _ in range(3):
        held = Belongings(store, HERE, said.append)
        held.issuer = ISSUER
        await held.set_tokens(OAuthToken(access_token="s3cret"))
    assert len(said) == 1 and store.what in said[0] and "s3cret" not in said[0]


# ── the file ──────────────────────────────────────────────────────────────────


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")
def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "down" / "kept.json"
    Store(File(file), file.parent).write("a", value={})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    file.chmod(0o644)
    Store(File(file), file.parent).write("a", value={})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"a": 5}', '{"a": "{"}', '{"a": "[]"}'])
def test_a_damaged_file_is_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "kept.json"
    file.write_text(text)
    store = Store(File(file), tmp_path)
    assert store.read("a") == {}
    store.write("a", value={"b": 1})
    assert store.read("a") == {"b": 1} and sorted(path.name for path in tmp_path.iterdir()) == [
        "kept.json",
        "store.lock",
    ]


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")
    with pytest.raises(Stop, match="a file cannot be used: ") as no:
        Store(File(tmp_path / "a file" / "kept.json"), tmp_path / "a file").write("a", value={"secret": "s3cret"})
    assert "s3cret" not in str(no.value)


# ── which of the two ──────────────────────────────────────────────────────────


def test_a_keyring_that_works_is_used(at_home: Path) -> None:
    keyring.set_keyring(InMemory())
    assert "in memory" in open_store().what


@pytest.mark.parametrize("ring", [Failing(), Locked()], ids=["failing", "locked"])
def test_one_that_only_fails_is_none(at_home: Path, ring: KeyringBackend) -> None:
    keyring.set_keyring(ring)
    assert usable_keyring() is None
    assert str(at_home / "credentials.json") in open_store().what


def test_whoever_began_with_the_file_stays_with_it(at_home: Path) -> None:
    keyring.set_keyring(Failing())
    open_store().write("a", value={})
    keyring.set_keyring(InMemory())
    assert "credentials.json" in open_store().what


def test_the_environment_decides(at_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keyring.set_keyring(InMemory())
    monkeypatch.setenv("MCP_CLIENT_STORE", str(tmp_path / "mine.json"))
    assert "mine.json" in open_store().what
    monkeypatch.setenv("MCP_CLIENT_STORE", "keyring")
    assert "in memory" in open_store().what
    keyring.set_keyring(Failing())
    with pytest.raises(Stop, match="none that works"):
        open_store()


def test_a_keyring_that_locks_later_is_one_sentence_without_its_text(tmp_path: Path) -> None:
    with pytest.raises(Stop) as no:
        Store(Keyring(Locked()), tmp_path).read("a")
    assert "KeyringLocked" in str(no.value) and "s3cret" not in str(no.value)


# ── one at a time ─────────────────────────────────────────────────────────────


async def test_a_turn_is_taken_once_and_given_back(tmp_path: Path) -> None:
    lock = await taken(tmp_path / "lock")
    assert not nobody_holds(tmp_path / "lock")
    lock.release()
    lock.release()
    (await taken(tmp_path / "lock")).release()
    assert nobody_holds(tmp_path / "lock")


async def test_whoever_waits_for_a_turn_holds_up_nobody_and_can_be_stopped(tmp_path: Path) -> None:
    lock = await taken(tmp_path / "lock")
    with anyio.move_on_after(0.1) as waiting:
        await taken(tmp_path / "lock")
    assert waiting.cancelled_caught
    lock.release()
    assert nobody_holds(tmp_path / "lock")


async def test_patience_ends_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.storage.PATIENCE", 0.1)
    with lock_at(tmp_path / "lock") as lock, lock:
        with pytest.raises(Stop, match="Another run"):
            await taken(tmp_path / "lock")
        with pytest.raises(Stop, match="Another run"), lock_at(tmp_path / "lock") as another, another:
            pass


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")
async def test_only_its_owner_can_open_a_lock(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        await taken(tmp_path / "new" / "lock")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new", tmp_path / "new" / "lock")]
    assert modes == [0o700, 0o600]


PROCESS = """
import sys, time
from pathlib import Path
from client.storage import File, Store
folder = Path(sys.argv[1])
store = Store(File(folder / "kept.json"), folder)
for n in range(20):
    store.write(sys.argv[2], str(n), value={"n": n})
"""


def test_processes_do_not_lose_what_others_wrote(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROCESS, str(tmp_path)]
    running = [subprocess.Popen([*command, name], cwd=ROOT) for name in "abc"]
    assert [process.wait(30) for process in running] == [0, 0, 0]
    assert len(json.loads((tmp_path / "kept.json").read_text())) == 60


def test_the_lock_of_a_process_that_died_is_nobody_holds(tmp_path: Path) -> None:
    script = "import anyio, os, sys; from client.storage import taken; from pathlib import Path; "
    script += "lock = anyio.run(taken, Path(sys.argv[1])); print('ours', flush=True); os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "lock")], cwd=ROOT, capture_output=True)
    assert done.stdout.strip() == b"ours"
    assert nobody_holds(tmp_path / "lock")
