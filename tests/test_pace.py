"""At the room's pace: a walk that stops before each exchange, if asked to and if somebody is there."""

import os
import re
import select
import sys
import time

import pytest

from tests.processes import elsewhere, environment
from tools.environment import ROOT

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal to play")


def played(number: str, until: int = 0, slow: int = 0, **more: str) -> tuple[str, int]:
    """A run on a terminal of its own, by somebody who presses Enter whenever asked, and Ctrl-C the last time."""
    import pty

    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execve(
            sys.executable, ["python", "-m", "steps", "run", number], environment(NO_COLOR="1", OUT=elsewhere(), **more)
        )
    said, pressed, deadline = b"", 0, time.monotonic() + 240
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 15 if 0 < until == pressed else 120)[0]:
            if pressed != until:
                break
            os.write(terminal, b"\x03")  # the first came in the moment before the prompt began to wait for it
            continue
        try:
            said += os.read(terminal, 4096)
        except OSError:
            break  # the other side is gone
        if said.count(b"[Enter]") > pressed:
            pressed += 1
            time.sleep(4 if pressed == slow else 1 if pressed == until else 0)  # nobody is faster than the prompt
            os.write(terminal, b"\x03" if pressed == until else b"\n")
    os.close(terminal)
    text = re.sub(r"\x1b\[[\d;]*m|\r", "", said.decode("utf-8", errors="replace"))
    return text, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@posix
def test_a_paused_walk_shows_what_it_sends_asks_and_then_shows_what_came() -> None:
    text, code = played("01", PAUSE="1")
    assert code == 0
    assert re.search(
        r"    → MCP server   POST \S+/mcp\n(?:.*\n)*?    What will come back: .* \[Enter\]\n\n"
        r"    It is 401: resource_metadata\.\n    ← 401 Unauthorized\n",
        text,
    )
    assert text.count("What will come back") == len(re.findall(r"^    It is \d{3}", text, re.M)) == 3


@posix
@pytest.mark.thorough
def test_a_paused_walk_goes_on_to_its_end() -> None:
    text, code = played("06", PAUSE="1")
    assert code == 0
    assert text.count("What will the browser show there") == 4
    assert "It is 401: invalid_token." in text, "the clocks are turned: nobody waits ten minutes"
    asked, shown = text.count("What will come back"), len(re.findall(r"^    It is (\d{3}|nothing)", text, re.M))
    assert asked == shown + 1, "the last one, to a server that is down, has no answer"


@posix
@pytest.mark.parametrize("question", [1, pytest.param(8, marks=pytest.mark.thorough)])
def test_ctrl_c_at_a_question_ends_the_walk(question: int) -> None:
    """The eighth is asked while the SDK's client runs, in an event loop that cannot run meanwhile."""
    text, code = played("01" if question == 1 else "05", until=question, PAUSE="1")
    assert (code, "Stopped." in text, "Traceback" in text) == (130, True, False)
    assert text.count("[Enter]") == question


@posix
@pytest.mark.thorough
def test_however_long_the_room_thinks_no_token_grows_old() -> None:
    """Its tokens live for three seconds; the room takes four before the first is used."""
    text, code = played("06", slow=7, PAUSE="1")
    assert (code, "What we know now" in text) == (0, True)
