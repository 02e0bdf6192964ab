"""The world misbehaves: one sentence that names the cause and the way out, an exit code, and nothing left behind."""

import contextlib
import os
import pty
import re
import runpy
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from attacks.world import Remote
from shared import console
from shared.stop import Stop
from tests.processes import Ran, environment, free_ports, here, listening, orphans, run, started, until
from tools.catalogue import all_steps
from tools.environment import ROOT


def one_sentence(ran: Ran, *needed: str) -> None:
    assert ran.code not in (0, None)
    assert "Traceback" not in ran.out + ran.err
    sentence = ran.err.strip()
    assert sentence and "\n" not in sentence, ran.err
    for words in needed:
        assert words in sentence, sentence
    assert (listening(), orphans()) == ([], [])


TAKEN = [("AS_PORT", "05"), ("MCP_PORT", "05"), ("NEIGHBOUR_PORT", "05"), ("UPSTREAM_PORT", "07")]


@pytest.mark.parametrize(
    ("host", "name", "number"),
    [("127.0.0.1", *TAKEN[0]), ("::1", *TAKEN[1])]
    + [pytest.param("127.0.0.1", *taken, marks=pytest.mark.thorough) for taken in TAKEN[1:]]
    + [pytest.param("::1", *taken, marks=pytest.mark.thorough) for taken in TAKEN[::2]],
)
def test_a_port_that_is_taken(name: str, number: str, host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        stranger = socket.create_server((host, int(free_ports()[name])), family=family)
    except OSError:
        pytest.skip("this computer has no IPv6")
    ran = run("run", number)
    stranger.close()
    one_sentence(ran, "is taken by another program", f"{name}=")


def test_a_server_started_by_hand_on_a_taken_port() -> None:
    with socket.create_server(("127.0.0.1", int(free_ports()["AS_PORT"]))):
        command = [sys.executable, "-m", "steps.01_protected_resource_metadata.auth_server"]
        done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "is taken by another program" in done.stderr


def thorough(*values: object) -> list:
    return [pytest.param(value, marks=pytest.mark.thorough) for value in values]


@pytest.mark.parametrize("port", ["70000", *thorough("x", "0", "-1", "80 80", "８０")])
def test_a_port_that_is_none(port: str) -> None:
    one_sentence(run("run", "01", AS_PORT=port), "is not a port")


@pytest.mark.parametrize("same", ["UPSTREAM_PORT", *thorough("AS_PORT", "NEIGHBOUR_PORT")])
def test_two_servers_on_one_port(same: str) -> None:
    one_sentence(run("run", "01", **{same: free_ports()["MCP_PORT"]}), "four different ports")


@pytest.mark.parametrize("number", ["9", "99", "x", "", "-1", "５"])
def test_a_step_that_does_not_exist(number: str, capsys: pytest.CaptureFixture) -> None:
    ran = here(capsys, "run", "--", number)
    one_sentence(ran, "There is no step", ", ".join(all_steps()))


def test_a_command_that_does_not_exist_is_answered_with_those_that_do(capsys: pytest.CaptureFixture) -> None:
    ran = here(capsys, "walk", "01")
    assert ran.code == 2
    assert "run" in ran.err and "serve" in ran.err


@pytest.mark.parametrize("role", ["client"])
def test_a_client_without_servers(role: str) -> None:
    command = [sys.executable, "-m", f"steps.05_token_audience_validation.{role}"]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
    one_sentence(Ran(done.returncode, done.stdout, done.stderr), "Nobody answers at", "is the MCP server running?")


def test_an_old_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 13, "final", 0))
    with pytest.raises(SystemExit, match="needs Python 3.11 or newer, and this is Python 3.10"):
        runpy.run_path(str(ROOT / "steps" / "__init__.py"))


@pytest.mark.thorough
def test_no_network_at_the_set_up(tmp_path: Path) -> None:
    """A clone, a fresh environment, and an index that does not answer."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    nowhere = {
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_FIND_LINKS": "",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_RETRIES": "0",
        "PIP_NO_CACHE_DIR": "1",
        "PATH": "/usr/bin:/bin",
    }
    command = [sys.executable, "-m", "steps", "run", "01"]
    done = subprocess.run(command, cwd=clone, env=environment(**nowhere), capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "Is there a network?" in done.stderr
    assert "Traceback" not in done.stderr and done.stderr.count("\n") == 1, done.stderr


# ── Ctrl-C, kill, and worse ───────────────────────────────────────────────────


@pytest.mark.parametrize("seconds", [0.8, *thorough(0.05, 0.4, 1.2, 1.6, 2.0)])
def test_ctrl_c_at_any_point_leaves_no_process_and_no_port(seconds: float) -> None:
    with started("run", "05") as process:
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGINT)  # as the terminal does it: to everybody in the foreground
        process.wait(60)
    assert until(lambda: not listening() and not orphans()), (listening(), orphans())


@pytest.mark.parametrize("number", [signal.SIGKILL, *thorough(signal.SIGINT, signal.SIGTERM, signal.SIGHUP)])
def test_servers_end_with_whoever_started_them(number: signal.Signals) -> None:
    with started("serve", "01") as process:
        assert until(lambda: served_by("AS_PORT", "MCP_PORT"))
        process.send_signal(number)
        process.wait(60)
    assert until(lambda: not listening() and not orphans()), (listening(), orphans())


def test_serve_ends_with_one_word() -> None:
    with started("serve", "01") as process:
        assert until(lambda: served_by("AS_PORT", "MCP_PORT"))
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip().endswith("Stopped.")


def served_by(*names: str) -> bool:
    """Whether somebody listens at each of these ports."""
    return {found.split()[0] for found in listening()} >= set(names)


# ── the other side is down, or comes back ─────────────────────────────────────


def server(role: str, **more: str) -> subprocess.Popen:
    module = f"steps.05_token_audience_validation.{role}"
    return subprocess.Popen([sys.executable, "-m", module], cwd=ROOT, env=environment(**more), stderr=subprocess.PIPE)


def healthy(name: str) -> bool:
    try:
        return httpx2.get(f"http://localhost:{free_ports()[name]}/health").status_code == 200
    except httpx2.TransportError:
        return False


def test_the_mcp_server_may_start_first_and_recovers_by_itself() -> None:
    """No authorization server: 503 with a sentence. It comes: the door works. It comes back anew: it still works."""
    from tests.test_bearer import raw_jwt

    issuer, resource = (f"http://localhost:{free_ports()[name]}" for name in ("AS_PORT", "MCP_PORT"))
    resource = f"{resource}/mcp"
    token = raw_jwt({"typ": "at+jwt", "alg": "RS256", "kid": "x"}, {}, b"x" * 256)
    processes = [server("mcp_server")]
    try:
        assert until(lambda: healthy("MCP_PORT"))
        down = httpx2.post(resource, headers={"Authorization": f"Bearer {token}"})
        assert (down.status_code, down.headers["retry-after"]) == (503, "1")
        assert httpx2.post(resource).status_code == 401
        for _ in range(2):
            authorization_server = server("auth_server")
            processes.append(authorization_server)
            assert until(lambda: healthy("AS_PORT"))
            time.sleep(1.1)  # what Retry-After says
            with Remote("05", issuer, resource) as world:
                assert world.honest_flow_works()
            authorization_server.terminate()
            authorization_server.wait(60)
    finally:
        for process in processes:
            process.terminate()
            process.communicate(timeout=60)


def raw(name: str, sent: bytes) -> bytes:
    """Send bytes, say that there will be no more, and read what comes back."""
    with socket.create_connection(("127.0.0.1", int(free_ports()[name])), timeout=10) as connection:
        answer = b""
        with contextlib.suppress(OSError):  # the server may hang up before it has heard us out
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            while more := connection.recv(65536):
                answer += more
        return answer


def test_bytes_that_are_no_request_or_half_of_one_leave_no_trace(tmp_path: Path) -> None:
    post = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    log = (tmp_path / "log").open("wb")
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", f"steps.05_token_audience_validation.{role}"],
            cwd=ROOT,
            env=environment(),
            stderr=log,
        )
        for role in ("auth_server", "mcp_server")
    ]
    try:
        assert until(lambda: healthy("AS_PORT") and healthy("MCP_PORT"))
        for name, path in (
            ("AS_PORT", b"/token"),
            ("AS_PORT", b"/register"),
            ("AS_PORT", b"/consent"),
            ("MCP_PORT", b"/mcp"),
        ):
            assert b" 500 " not in raw(name, post % path + b"Content-Length: 50\r\n\r\nabc"), "half a body"
            assert b" 400 " in raw(name, b"\x16\x03\x01 is this TLS?\r\n\r\n")
            assert b" 500 " not in raw(
                name, b"GET %s?%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (path, b"x" * 1_000_000)
            )
            assert b" 500 " not in raw(name, post % path + b"X: %s\r\n\r\n" % (b"x" * 1_000_000))
            chunked = b"Transfer-Encoding: chunked\r\n\r\nfffff\r\n%s\r\n0\r\n\r\n" % (b"x" * 0xFFFFF)
            assert raw(name, post % path + chunked).split()[1] in (b"413", b"401")
        assert healthy("AS_PORT") and healthy("MCP_PORT")
    finally:
        for process in processes:
            process.terminate()
            process.wait(60)
    assert "Traceback" not in (tmp_path / "log").read_text(errors="replace")


def in_a_terminal(browser: str, **more: str) -> tuple[int, int]:
    """Run step 04 with a terminal and a browser: the process and the terminal's other end."""
    master, slave = pty.openpty()
    env = environment(BROWSER=browser, TERM="dumb", **more)
    for name in ("HEADLESS", "CI"):
        env.pop(name, None)
    process = subprocess.Popen(
        [sys.executable, "-m", "steps", "run", "04"],
        cwd=ROOT,
        env=env,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    return process, master


def browser_that_runs(command: str, folder: Path) -> str:
    """What `BROWSER` must say so that opening a page runs this command of the shell."""
    browser = folder / "browser"
    browser.write_text(f"#!/bin/sh\n{command}\n")
    browser.chmod(0o755)
    return f"{browser} %s"


def read_until(master: int, words: str, seconds: float = 60) -> str:
    said = ""
    deadline = time.monotonic() + seconds
    while words not in said and time.monotonic() < deadline:
        try:
            said += os.read(master, 65536).decode(errors="replace").replace("\r\n", "\n")
        except OSError:
            break
    return said


VISIT = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import shared.browser
shared.browser.line = lambda _: None
shared.browser.visit(sys.argv[1])
"""


def test_with_a_terminal_and_a_browser_a_person_is_asked(tmp_path: Path) -> None:
    script = tmp_path / "visit.py"
    script.write_text(VISIT)
    process, master = in_a_terminal(browser_that_runs(f'"{sys.executable}" "{script}" "$@"', tmp_path))
    said = read_until(master, "Go on with")
    assert process.wait(60) == 0
    os.close(master)
    assert "five minutes at most" in said
    assert re.search(r"http://localhost:\d+/authorize\?\S+resource=\S+", said), "the address is printed whole"
    assert "small visitor" not in said


def test_the_authorization_server_goes_away_while_a_person_thinks(tmp_path: Path) -> None:
    process, master = in_a_terminal(browser_that_runs("true", tmp_path))
    read_until(master, "Ctrl-C ends it")
    port = int(free_ports()["AS_PORT"])
    killed = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if is_server(pid, "auth_server", port)]
    assert len(killed) == 1
    os.kill(killed[0], signal.SIGKILL)
    said = read_until(master, "went away while we waited")
    assert process.wait(60) == 1
    os.close(master)
    assert "went away while we waited" in said and "Traceback" not in said
    assert until(lambda: not listening() and not orphans())


@pytest.mark.thorough
def test_ctrl_c_while_a_person_thinks(tmp_path: Path) -> None:
    process, master = in_a_terminal(browser_that_runs("true", tmp_path))
    read_until(master, "Ctrl-C ends it")
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 130
    os.close(master)
    assert until(lambda: not listening() and not orphans())


def is_server(pid: int, role: str, port: int) -> bool:
    try:
        process = Path(f"/proc/{pid}")
        started_here = f"AS_PORT={port}".encode() in (process / "environ").read_bytes()
        return started_here and (process / "cmdline").read_bytes().endswith(f".{role}\0".encode())
    except OSError:
        return False


# ── sentences ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (Stop("Because."), "Because."),
        (
            httpx2.InvalidURL("Invalid port: 'x'"),
            "A server sent us to an address that cannot be asked: Invalid port: 'x'",
        ),
        (httpx2.UnsupportedProtocol("No http"), "A server sent us to an address that cannot be asked: No http"),
    ],
)
def test_what_goes_wrong_on_the_way_is_a_sentence(
    error: Exception, sentence: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.err, "_file", sys.stderr)  # `file` would be restored to a stream that is closed

    def main() -> None:
        raise ExceptionGroup("a library wrapped it", [error])

    with pytest.raises(SystemExit) as ended:
        console.run(main)
    assert ended.value.code == 1
    assert capsys.readouterr().err.strip() == sentence


def test_a_bug_stays_loud() -> None:
    def main() -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        console.run(main)
