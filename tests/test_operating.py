"""What keeps a finished program running: its sockets, connections that say nothing, an audit trail without room."""

import contextlib
import json
import os
import socket
import threading
import time

import pytest
import uvicorn
from starlette.responses import PlainTextResponse

from shared import audit, operating
from shared.audit import Trail
from shared.limits import Window
from shared.stop import Stop

pytestmark = pytest.mark.of_steps("what is shared by the finished programs")


LINE = Trail.line  # worlds of other tests put another in its place


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trail, "line", LINE)
    monkeypatch.setattr(audit, "EVERY", 0.01)
    monkeypatch.setattr(audit, "MOST_WAITING", 5)


def eventually(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def lines_in(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines() if line] if path.is_file() else []


def test_a_trail_that_has_no_room_for_a_while_holds_nobody_up(quick: None, tmp_path, caplog) -> None:
    path = tmp_path / "audit.log"
    trail = Trail(path)
    path.unlink()
    path.mkdir()  # nobody can write there
    for number in range(8):
        trail.line({"number": number})
    eventually(lambda: "cannot be written" in caplog.text)
    path.rmdir()
    eventually(lambda: any("lost" in line for line in lines_in(path)))
    trail.close()
    found = lines_in(path)
    assert [line["number"] for line in found if "number" in line] == [0, 1, 2, 3, 4]
    assert [line["lost"] for line in found if "lost" in line] == [3]
    assert caplog.text.count("cannot be written") == 1


def test_a_trail_that_was_moved_away_goes_on_in_a_new_file(quick: None, tmp_path) -> None:
    path = tmp_path / "audit.log"
    trail = Trail(path)
    trail.line({"number": 1})
    eventually(lambda: lines_in(path))
    path.rename(tmp_path / "audit.log.1")
    trail.line({"number": 2})
    trail.close()
    assert [line["number"] for line in lines_in(path)] == [2]
    assert [line["number"] for line in lines_in(tmp_path / "audit.log.1")] == [1]


@pytest.mark.skipif(os.name != "posix", reason="Windows keeps other users out of a profile by itself")
def test_nobody_else_reads_the_trail(tmp_path) -> None:
    Trail(tmp_path / "audit.log")
    assert (tmp_path / "audit.log").stat().st_mode & 0o077 == 0


A_HEAD = b"GET / HTTP/1.1\r\nHost: a"


@contextlib.contextmanager
def running(app, listen: str):
    """The socket of a server with this app, which ends with the block."""
    listening = operating.sockets_for("", listen)
    config = uvicorn.Config(app, http=operating.Impatient, log_config=None, timeout_keep_alive=60)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": listening})
    thread.start()
    try:
        yield listening[0]
    finally:
        server.should_exit = True
        thread.join()


def heard(port: int, said: bytes) -> bytes:
    """All that it says until it hangs up; a time-out fails."""
    found = b""
    with socket.create_connection(("127.0.0.1", port), 10) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(said)
        while more := connection.recv(1000):
            found += more
    return found


@pytest.mark.parametrize("said", [b"", A_HEAD, A_HEAD + b"\r\n\r\n", A_HEAD + b"x" * 1_000_000])
def test_a_connection_on_which_nothing_happens_is_closed(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operating, "PATIENCE", 0.2 if len(said) < 1000 else 60)
    with running(PlainTextResponse("here"), "127.0.0.1:0") as at:
        answer = heard(at.getsockname()[1], said)
    assert (b"200 OK" in answer) is said.endswith(b"\r\n\r\n")


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no socket for both kinds of addresses here")
def test_whoever_comes_over_ipv4_has_an_address_of_ipv4_at_any_socket() -> None:
    async def who(scope, receive, send) -> None:
        await PlainTextResponse(scope["client"][0])(scope, receive, send)

    with running(who, "[::]:0") as at:
        answer = heard(at.getsockname()[1], A_HEAD + b"\r\nConnection: close\r\n\r\n")
    assert answer.endswith(b"\r\n127.0.0.1")


@pytest.mark.parametrize("listen", [":9611", "0.0.0.0:99999", "0.0.0.0:x", "[::1", "nobody.invalid:8000"])
def test_a_place_where_nobody_can_listen_is_a_sentence(listen: str) -> None:
    with pytest.raises(Stop, match="^Cannot listen at .*[.]$"):
        operating.sockets_for("http://localhost:9611", listen)


def test_what_is_counted_most_is_not_forgotten_first() -> None:
    window = Window(2, most=3)
    for key in ("guessed", "guessed", "a", "b", "guessed", "c", "d"):
        window.count(key)
    assert window.wait("guessed") > 0
