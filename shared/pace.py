"""At the room's pace: `PAUSE=1` stops before each exchange, shows what will be sent, and asks what will come back."""

import contextlib
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable

import httpx2

from shared import console, outgoing
from shared.addresses import switched_on
from shared.tracing import headers_of, part

has_thought: Callable[[float], object] = id


def wanted() -> bool:
    """Only where somebody can press Enter."""
    return switched_on("PAUSE") and sys.stdin.isatty() and sys.stdout.isatty()


def begin(fact: Callable[[dict], str], thought: Callable[[float], object]) -> None:
    """`fact` says of an answer, as it stands in a trace, the one thing that matters; `thought` is told how long."""
    global has_thought
    has_thought = thought
    outgoing.before.append(ask)
    outgoing.after.append(lambda request, response: answer(request, response, fact))
    outgoing.watch()


def ask(request: httpx2.Request) -> None:
    if ours(request):
        console.show_request(request, "")  # it may be the attacker, who is played by the same program
        wait_for_enter("What will come back: which status, and what will it tell us?")


def answer(request: httpx2.Request, response: httpx2.Response, fact: Callable[[dict], str]) -> None:
    if ours(request):
        found = fact(part(headers_of(response.headers.raw), response.content))
        console.line((f"It is {response.status_code}{f': {found}' if found else ''}.", "bold magenta"))


def ours(request: httpx2.Request) -> bool:
    """Not our own question whether a server is up, nor what the visitor does in the browser's place."""
    return request.url.path != "/health" and threading.current_thread() is threading.main_thread()


def wait_for_enter(question: str) -> None:
    began = time.monotonic()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # an event loop cannot notice it meanwhile
    try:
        console.line((question, "bold magenta"), (" [Enter]", "dim"))
        with contextlib.suppress(EOFError):
            input()
    except KeyboardInterrupt:
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # which would tell what it could not finish
        raise
    finally:
        signal.signal(signal.SIGINT, before)
    has_thought(time.monotonic() - began)
