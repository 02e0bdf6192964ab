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


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize("said", [b"", A_HEAD, A_HEAD + b"\r\n\r\n", A_HEAD + b"x" * 1_000_000])
def test_a_connection_on_which_nothing_happens_is_closed(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operating, "PATIENCE", 0.2 if len(said) < 1000 else 60)
    listening = operating.sockets_for("", "127.0.0.1:0")
    config = uvicorn.Config(PlainTextResponse("here"), http=operating.Impatient, log_config=None, timeout_keep_alive=60)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": listening})
    thread.start()
    try:
        with socket.create_connection(listening[0].getsockname()[:2], 10) as connection:
            heard = b""
            with contextlib.suppress(ConnectionError):
                connection.sendall(said)
                while more := connection.recv(1000):  # until it hangs up; a time-out fails
                    heard += more
        assert (b"200 OK" in heard) is said.endswith(b"\r\n\r\n")
    finally:
        server.should_exit = True
        thread.join()


@pytest.mark.parametrize("listen", [":9611", "0.0.0.0:99999", "0.0.0.0:x", "[::1", "nobody.invalid:8000"])
def test_a_place_where_nobody_can_listen_is_a_sentence(listen: str) -> None:
    with pytest.raises(Stop, match="^Cannot listen at .*[.]$"):
        operating.sockets_for("http://localhost:9611", listen)


def test_what_is_counted_most_is_not_forgotten_first() -> None:
    window = Window(2, most=3)
    for key in ("guessed", "guessed", "a", "b", "guessed", "c", "d"):
        window.count(key)
    assert window.wait("guessed") > 0
