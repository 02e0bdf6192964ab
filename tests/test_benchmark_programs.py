"""The benchmark of the finished programs measures what it says, and leaves nothing behind. No test asserts a speed."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import psutil
import pytest

from tests.processes import until
from tools import load, served
from tools.environment import ROOT
from tools.load import Wrong
from tools.pairs import Pairs, Took, alternate, at_least, at_most, below, quartiles

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\n\r\nhello"
ASKING = load.request("GET", "/", "localhost")


@contextlib.contextmanager
def saying(*pieces: bytes) -> Iterator[int]:
    """Somebody who answers every request with the same bytes, piece by piece; they hang up after the last b""."""
    listener = socket.create_server(("127.0.0.1", 0))

    def speak() -> None:
        with contextlib.suppress(OSError):
            while True:
                visitor, _ = listener.accept()
                threading.Thread(target=answer, args=(visitor,), daemon=True).start()

    def answer(visitor: socket.socket) -> None:
        with visitor, contextlib.suppress(OSError):
            visitor.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while visitor.recv(65_536):
                for piece in pieces:
                    if not piece:
                        return
                    visitor.sendall(piece)

    threading.Thread(target=speak, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


# ── the load ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("lines", [1, 4])
@pytest.mark.parametrize("pieces", [(OK,), (OK[:10], OK[10:60], OK[60:])], ids=["whole", "in pieces"])
def test_an_answer_is_read_to_its_end_and_the_connection_goes_on(lines, pieces):
    heard = []

    def script() -> load.Script:
        for _ in range(3):
            heard.append((yield ASKING))

    with saying(*pieces) as port, load.connected(port, lines) as connections:
        assert connections.run(script() for _ in range(lines)) > 0
    assert [answer.body for answer in heard] == [b"hello"] * 3 * lines
    assert (
        heard[0].status == 200
        and heard[0].cookies() == {"a": "1", "b": "2"}
        and heard[0].header("content-length") == "5"
    )


@pytest.mark.parametrize(
    "said, sentence",
    [
        ((b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno",), "200 with 'hello' was expected, and 500 came: no"),
        ((OK.replace(b"hello", b"olleh"),), "200 with 'hello' was expected"),
        ((b"HTTP/1.1 200 OK\r\n\r\nhello",), "does not say how long it is"),
        ((OK[:30], b""), "hung up in the middle"),
    ],
)
def test_a_wrong_answer_ends_the_run_with_a_sentence(said, sentence):
    with saying(*said) as port, load.connected(port, 1) as lines, pytest.raises(Wrong, match=sentence):
        lines.run([load.repeated([ASKING], 200, b"hello", "greeting")])


def test_nobody_there_is_a_sentence_too():
    with (
        pytest.raises(Wrong, match="Nobody listens on port"),
        load.connected(served.free_port(range(8700, 8800), set()), 1),
    ):
        pass


# ── pairs ─────────────────────────────────────────────────────────────────────


def test_pairs_are_measured_in_turns_and_the_middle_ratio_counts():
    order = []

    def ours(turn: int) -> Took:
        order.append(f"ours {turn}")
        return Took(2 + 4 * (turn == 1), 3)  # once something else was going on

    def theirs(turn: int) -> Took:
        order.append(f"theirs {turn}")
        return Took(1, 2)

    pairs = alternate(ours, theirs, 3)
    assert order == ["ours 0", "theirs 0", "theirs 1", "ours 1", "ours 2", "theirs 2"]
    assert pairs.ratios().middle == 2 and pairs.ratios(inverse=True).middle == 0.5 and pairs.cpu() == 1.5


def test_a_bar_is_kept_or_not():
    pairs = Pairs([(Took(2.0), Took(1.0))])
    assert at_most("p", "w", "ms", pairs, "x", 2.0).kept and not at_most("p", "w", "ms", pairs, "x", 1.9).kept
    assert at_least("p", "w", pairs, "x", 0.5).kept and not at_least("p", "w", pairs, "x", 0.6).kept
    assert (
        at_most("p", "w", "ms", pairs, "x", None).kept is None and at_most("p", "w", "ms", pairs, "x", 2).value == 2000
    )
    assert below("p", "w", 0, "rows", 0).kept and not below("p", "w", 1, "rows", 0).kept
    assert quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 4.0) and pairs.cpu() is None


# ── servers ───────────────────────────────────────────────────────────────────


def test_a_server_that_does_not_come_up_is_a_sentence_with_its_last_words():
    with served.Servers() as servers, pytest.raises(Wrong, match="does not come up. It said: KeyError: 'nonsense'"):
        servers.rival("nonsense", servers.port(served.MCP_PORTS))


def test_a_server_sees_no_settings_of_whoever_measures(monkeypatch):
    monkeypatch.setenv("AUTH_MODE", "api_key")
    monkeypatch.setenv("AS_ISSUER", "https://elsewhere.example")
    assert not {"AUTH_MODE", "AS_ISSUER"} & set(served.environment())
    assert served.environment(AS_ISSUER="x")["AS_ISSUER"] == "x"


@pytest.mark.thorough
@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
def test_its_servers_end_with_it_however_it_ends(how, tmp_path):
    command = [sys.executable, "-m", "tools.benchmark_programs", "calls"]
    own = os.environ | {"TMPDIR": str(tmp_path)}  # who is killed cannot tidy up
    process = subprocess.Popen(command, cwd=ROOT, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        said = [process.stderr.readline()]
        while "token seen" not in said[-1]:  # then all of them are up
            assert said[-1], said
            said.append(process.stderr.readline())
        servers = psutil.Process(process.pid).children()
        assert len(servers) == 3
        process.send_signal(how)
        _, last_words = process.communicate(timeout=20)
    finally:
        process.kill()
    assert until(lambda: not any(server.is_running() for server in servers), 20)
    assert "Traceback" not in last_words


# ── all of it ─────────────────────────────────────────────────────────────────

ROWS = {
    "calls": [
        "unprotected, 1 at once",
        "ours, token seen, RS256, 1 at once",
        "ours, token first seen, ES256, 8 at once",
    ],
    "flows": ["full flows, ES256, 1 at once", "full flows, ES256, 8 at once", "client_credentials, ES256, 8 at once"],
    "start": ["authorization server: first metadata answer", "python -m mcp_server: first answer"],
    "scale": ["/token, a code, 100 stored clients", "/authorize, 100 stored clients", "rows made by 6 flows"],
    "client": ["call with a stored token", "python -c 'import mcp'"],
}
PROMISED = {"calls": 8, "flows": 2, "start": 5, "scale": 4, "client": 1}  # lines with a bar


@pytest.mark.thorough
@pytest.mark.parametrize("part", ROWS)
def test_each_part_says_what_it_measured(part):
    done = measured(part, "--json")
    found = json.loads(done.stdout)["rows"]
    assert not set(ROWS[part]) - {row["what"] for row in found}
    assert all(row["part"] == part and row["value"] >= 0 for row in found)
    assert len([row for row in found if row["bar"]]) == PROMISED[part]
    assert done.returncode == (1 if any(row["kept"] is False for row in found) else 0)


@pytest.mark.thorough
def test_where_the_time_of_a_flow_goes_adds_up_to_a_whole():
    done = measured("flows", "--where", "--json")
    shares = [row["ratio"] for row in json.loads(done.stdout)["rows"] if row["part"] == "where"]
    assert len(shares) == 5 and all(share > 0 for share in shares) and abs(sum(shares) - 1) < 0.01


def measured(*words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "tools.benchmark_programs", *words, "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", timeout=180)
    assert done.stdout, done.stderr
    return done


def test_an_unknown_part_is_refused():
    command = [sys.executable, "-m", "tools.benchmark_programs", "everything"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "there is no part everything; there are calls, flows" in done.stderr
