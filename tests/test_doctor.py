"""The doctor: what it finds is true, and it finds it while half of the computer is broken."""

import hashlib
import importlib
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.processes import Ran, finished, free_ports, listening, started, until
from tools import doctor, examinations, examinations_network
from tools.doctor import CANNOT_TELL, MIND, OK, WRONG, Row
from tools.environment import ROOT

PATIENT = "from tools import doctor; doctor.PATIENCE = 60; raise SystemExit(doctor.examine())"  # on a busy machine


def examined(**more: str) -> Ran:
    return finished([sys.executable, "-c", PATIENT], ROOT, 240, **more)


def port(name: str) -> str:
    return f"port {free_ports()[name]}"


def row(what: str, out: str) -> str:
    """The row about something, with the way out below it if there is one."""
    [found] = re.findall(rf"^(\S[\w ]*? {{2,}}{re.escape(what)}(?!\w).*(?:\n +-> .*)?)", out, re.M)
    return re.sub(r"\s+", " ", found)


def only(name: str) -> Row:
    module = importlib.import_module(doctor.EXAMINATIONS[name])
    [found] = getattr(module, name)()
    return found


@pytest.fixture(scope="module")
def healthy() -> Ran:
    return examined(NO_PROXY="localhost,127.0.0.1")


def test_on_a_computer_where_all_is_well_it_says_so(healthy: Ran) -> None:
    ran = healthy
    assert (ran.code, ran.err) == (0, "")
    version = ".".join(map(str, sys.version_info[:3]))
    assert row("Python", ran.out) == f"ok Python {version}, {sys.executable}"
    for what in (
        ".venv",
        "git",
        "make",
        port("AS_PORT"),
        port("UPSTREAM_PORT"),
        "localhost",
        "clock",
        "console",
        "out/",
        "disk",
    ):
        assert what in ran.out, what
    assert "The course runs here." in ran.out or "All is well." in ran.out


def test_it_takes_less_than_two_seconds(healthy: Ran) -> None:
    began = time.process_time()
    doctor.all_rows()
    assert time.process_time() - began < 1, "seconds of work; the rest of the bar is the starting of Python"
    assert doctor.PATIENCE < 2


def test_it_needs_nothing_installed() -> None:
    bare = f"import sys; sys.path.insert(0, {str(ROOT)!r}); {PATIENT}"
    ran = finished([sys.executable, "-S", "-I", "-c", bare], ROOT, 240)
    assert (ran.code, ran.err) == (0, "")
    assert row("git", ran.out).startswith("ok git") and row("clock", ran.out).startswith("ok clock")


def test_a_console_in_an_old_code_page_is_spoken_to_in_ascii() -> None:
    ran = examined(PYTHONIOENCODING="cp1252", PYTHONUTF8="0")
    assert (ran.code, ran.err) == (0, "")
    assert "mind console cp1252" in row("console", ran.out)
    assert "PYTHONUTF8=1" in row("console", ran.out)


# ── it goes on ────────────────────────────────────────────────────────────────


def test_an_examination_that_fails_is_a_row(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterator[Row]:
        raise OSError("the disk is on fire")
        yield

    monkeypatch.setattr(examinations, "git", broken)
    monkeypatch.setattr(examinations, "make", lambda: sys.exit("no way"))
    doctor.examine()
    out = capsys.readouterr().out
    assert row("git", out) == "cannot tell git OSError: the disk is on fire"
    assert row("make", out) == "cannot tell make SystemExit: no way"
    assert row("out/", out) == "ok out/ can be written"


def test_an_examination_that_hangs_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examinations_network, "localhost", threading.Event().wait)  # for ever
    monkeypatch.setattr(doctor, "PATIENCE", 0.8)
    rows = {found.what: found for found in doctor.all_rows()}
    assert rows["localhost"] == Row(CANNOT_TELL, "localhost", "this took too long to find out")
    assert rows["Python"].state == OK


def test_only_what_is_wrong_is_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    for state, code in ((OK, 0), (MIND, 0), (CANNOT_TELL, 0), (WRONG, 1)):
        monkeypatch.setattr(doctor, "all_rows", lambda state=state: [Row(state, "x", "y", "Do z.")])
        assert doctor.examine() == code, state
        out = capsys.readouterr().out
        assert "-> Do z." in out and ("All is well." in out) == (state == OK)


# ── ports ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_stranger_on_a_port_is_named(host: str) -> None:
    pytest.importorskip("psutil")
    number = int(free_ports()["MCP_PORT"])
    code = (
        f"import socket, sys; s = socket.create_server(({host!r}, {number})); print('up', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as stranger:
        assert stranger.stdout.readline().strip() == b"up"
        ran = examined()
        stranger.stdin.close()
    assert ran.code == 1
    found = row(port("MCP_PORT"), ran.out)
    assert re.search(rf"wrong port \d+ is held by python\S* \(pid {stranger.pid}\)", found)
    assert f"MCP_PORT={number + 10}" in found
    assert f"Mend this first: {port('MCP_PORT')}." in ran.out


@pytest.mark.thorough
def test_a_server_of_ours_is_recognised() -> None:
    pytest.importorskip("psutil")
    with started("serve", "01") as process:
        assert until(lambda: process.poll() is not None or len({found.split()[0] for found in listening()}) == 2)
        ran = examined()
        process.terminate()
        process.wait(10)
    assert ran.code == 0
    for name, role in (("AS_PORT", "auth_server"), ("MCP_PORT", "mcp_server")):
        found = row(port(name), ran.out)
        assert re.search(rf"mind {port(name)} is held by a server of ours: {role} of step 01 \(pid \d+\)", found)
        assert "Ctrl-C" in found
    free = port("NEIGHBOUR_PORT")
    assert row(free, ran.out) == f"ok {free} is free, for NEIGHBOUR_PORT"


def test_who_holds_it_is_left_open_where_nobody_can_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        monkeypatch.setattr("shared.addresses.AS_PORT", stranger.getsockname()[1])
        first = next(examinations_network.ports())
    assert first.state == WRONG and "a program that we cannot see" in first.found


def test_a_variable_that_is_no_port_is_wrong() -> None:
    ran = examined(AS_PORT="abc")
    assert (ran.code, ran.err) == (1, "")
    assert "wrong ports AS_PORT=abc is not a port" in row("ports", ran.out)


# ── one by one ────────────────────────────────────────────────────────────────


def answers(*addresses: str) -> Callable:
    return lambda *_, **__: [(0, 0, 0, "", (address, 0)) for address in addresses]


@pytest.mark.parametrize(
    ("found", "state", "said"),
    [
        (answers("127.0.0.1"), OK, "is 127.0.0.1"),
        (answers("::1", "127.0.0.1"), OK, "is ::1, 127.0.0.1"),
        (answers("192.0.2.7", "127.0.0.1"), WRONG, "not this computer's own address"),
        (answers("127.0.1.1"), WRONG, "not this computer's own address"),
    ],
)
def test_localhost(found: Callable, state: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", found)
    first = next(examinations_network.localhost())
    assert first.state == state and said in first.found


def test_localhost_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    first = only("localhost")
    assert first.state == WRONG and "does not resolve" in first.found and "127.0.0.1 localhost" in first.do


def test_an_odd_line_in_the_hosts_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text(
        "127.0.0.1 localhost\n::1 localhost ip6\n# 10.0.0.1 localhost\nfe80::1%lo0 me\n\n10.0.0.2 x localhost\n"
    )
    monkeypatch.setattr(examinations_network, "hosts_file", lambda: hosts)
    _, odd = examinations_network.localhost()
    assert (odd.state, odd.found) == (MIND, f"{hosts} says localhost is 10.0.0.2")


def test_a_clock_before_the_last_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examinations, "run_git", lambda *_: str(int(time.time()) + 3 * 86_400))
    assert only("clock").state == WRONG and "3.0 days before the last commit" in only("clock").found


def test_a_clock_that_jumps(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([1e9, 1e9, 1e9 + 7, 1e9 + 7])
    monkeypatch.setattr(examinations, "run_git", lambda *_: "")
    monkeypatch.setattr(time, "time", lambda: next(moments))
    found = only("clock")
    assert found.state == MIND and re.search(r"jumped by (6\.[5-9]|7\.0) seconds", found.found)


def test_a_proxy_is_shown_without_its_password() -> None:
    bare = {"NO_PROXY": "", "no_proxy": ""}
    found = row("proxy", examined(HTTP_PROXY="http://me:geheim@proxy.example:3128", **bare).out)
    assert "mind proxy http: http://proxy.example:3128; NO_PROXY leaves out localhost" in found
    assert "geheim" not in found and "me:" not in found


def test_a_proxy_that_leaves_localhost_alone_is_fine() -> None:
    bare = {"HTTP_PROXY": "http://proxy.example:3128", "no_proxy": ""}
    for exceptions in ("*", "intranet, 127.0.0.1 ,localhost"):
        assert "ok proxy" in row("proxy", examined(NO_PROXY=exceptions, **bare).out), exceptions


def test_what_our_own_programs_put_behind_no_proxy_does_not_count() -> None:
    code = f"from shared import addresses; {PATIENT}"
    bare = {"HTTP_PROXY": "http://proxy.example:3128", "NO_PROXY": "intranet", "no_proxy": ""}
    found = row("proxy", finished([sys.executable, "-c", code], ROOT, 240, **bare).out)
    assert "mind proxy" in found


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examinations.environment, "ROOT", tmp_path)
    assert only("out").state == OK
    (tmp_path / "out").rmdir()
    for in_its_place in (lambda out: out.write_text("a file"), lambda out: out.symlink_to("/proc/self")):
        in_its_place(tmp_path / "out")
        assert only("out").state == WRONG and "cannot be written" in only("out").found
        (tmp_path / "out").unlink()


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 0

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)
    for megabytes, state in ((20, WRONG), (500, MIND), (5000, OK)):
        Usage.free = megabytes * 1_000_000
        assert only("disk").state == state


def test_an_environment_that_differs_from_the_lock() -> None:
    lock = "rich==1.0\nno-such-thing==2\nanyio>=1\nnever==1 ; sys_platform == 'none'\n# a remark\n\n"
    different = list(examinations.not_as_locked(lock))
    assert different[1:] == ["no-such-thing is missing"] and different[0].startswith("rich is ")


def test_an_environment_made_for_another_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examinations.environment, "STAMP", tmp_path / "stamp")
    assert only("installed").state == MIND
    stamp = hashlib.sha256(examinations.environment.LOCK.read_bytes()).hexdigest()
    (tmp_path / "stamp").write_text(stamp)
    assert "another requirements.lock" not in only("installed").found
    monkeypatch.setattr(examinations.environment, "PYTHON", tmp_path / "python")
    assert only("installed").found == "is not there yet"


def test_an_old_python_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
    assert only("python").state == WRONG and "3.11" in only("python").do


def test_without_git_nothing_else_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert only("git").state == WRONG
    assert only("make").state == MIND
    assert only("clock").state == OK
    assert only("chromium").state == MIND


def test_who_signs_in_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADLESS", "1")
    assert only("browser").found == "HEADLESS is set: the small visitor signs in as alice"
    monkeypatch.setenv("HEADLESS", "0")
    monkeypatch.delenv("CI", raising=False)
    assert "no terminal" in only("browser").found
