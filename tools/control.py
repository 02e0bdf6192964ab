"""Time in the hand: while `serve` runs, another terminal can make things happen in its servers now.

The program that serves listens on loopback; a file that only its owner can read says where, and has the key.
"""

import contextlib
import json
import os
import queue
import secrets
import threading
from collections.abc import Callable, Iterator
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener, answer_challenge, deliver_challenge
from pathlib import Path

from shared import running
from shared.addresses import AS_PORT, seconds_from_environment
from shared.stop import Stop
from tools.catalogue import Step
from tools.environment import ROOT

PATIENCE = 40  # seconds: longer than a server may take
FIRST = {"expire": "05", "rotate-keys": "05", "revoke": "06", "restart-as": "01"}
NOT_YET = {
    "expire": "Before step 05 nobody checks when a token ends.",
    "rotate-keys": "Before step 05 nobody checks a signature.",
    "revoke": "Before step 06 there are no refresh tokens.",
}


def expire(step: Step) -> str:
    lifetime = seconds_from_environment("TOKEN_LIFETIME", int(step.environment.get("TOKEN_LIFETIME", 600)))
    leeway = seconds_from_environment("LEEWAY", int(step.environment.get("LEEWAY", 30)), least=0)
    if gone := [name for name, started in running.ours.items() if started.process.poll() is not None]:
        raise Stop(f"The {gone[0]} is not there any more, so its clock cannot be turned.")
    running.turn_clocks(lifetime + leeway + 1)
    return f"The servers' clocks are {lifetime + leeway + 1} seconds further: every access token so far has expired."


def rotate_keys(_: Step) -> str:
    running.ours["auth_server"].tell("rotate")
    return (
        "The authorization server signs with a new key, and shows only that one. The MCP server asks for keys when it "
        "meets a kid it does not know; then tokens of the old key are refused."
    )


def revoke(_: Step) -> str:
    running.ours["auth_server"].tell("revoke")
    return "All refresh tokens are taken back. Access tokens work until they expire: nobody asks about them."


def restart_as(_: Step) -> str:
    if not running.restart("auth_server"):
        raise Stop("The authorization server is being ended.")
    return "The authorization server is new: it knows no client, no code, no refresh token, and has another key."


ORDERS: dict[str, Callable[[Step], str]] = {
    "expire": expire,
    "rotate-keys": rotate_keys,
    "revoke": revoke,
    "restart-as": restart_as,
}


# ── the side that serves ──────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def at_hand(step: Step) -> Iterator[None]:
    """For the length of the block, the orders can be given."""
    key = secrets.token_bytes(32)
    with Listener(("127.0.0.1", 0)) as listener:
        where = place()
        where.parent.mkdir(parents=True, exist_ok=True)
        where.unlink(missing_ok=True)
        with os.fdopen(os.open(where, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump({"port": listener.address[1], "key": key.hex()}, file)
        threading.Thread(target=follow, args=(listener, key, step), daemon=True).start()
        try:
            yield
        finally:
            where.unlink(missing_ok=True)


def follow(listener: Listener, key: bytes, step: Step) -> None:
    one_at_a_time = threading.Lock()
    while place().exists():
        with contextlib.suppress(OSError):
            heard = (listener.accept(), key, step, one_at_a_time)
            threading.Thread(target=hear, args=heard, daemon=True).start()  # who says nothing holds up nobody


def hear(connection: Connection, key: bytes, step: Step, one_at_a_time: threading.Lock) -> None:
    with contextlib.suppress(AuthenticationError, EOFError, OSError), connection:  # who has no key, or no patience
        deliver_challenge(connection, key)
        answer_challenge(connection, key)
        order = connection.recv_bytes(100).decode("ascii", "replace")
        with one_at_a_time:
            connection.send_bytes(done(order, step).encode())


def done(order: str, step: Step) -> str:
    """What came of an order, as a sentence; one that begins with `!` says why nothing came of it."""
    if order not in ORDERS:
        return "!Nobody here knows this order."
    if step.number < FIRST[order]:
        return f"!Step {step.number} is being served. {NOT_YET[order]}"
    try:
        return ORDERS[order](step)
    except Stop as why:
        return f"!{why}"
    except KeyError:
        return "!The servers are being ended."


def place() -> Path:
    return ROOT / "out" / f"serving-{AS_PORT}.json"


# ── the side that asks ────────────────────────────────────────────────────────────────────────────


def give(order: str) -> str:
    """Have an order followed by the servers that run; what came of it."""
    answers: queue.Queue[str] = queue.Queue()
    threading.Thread(target=lambda: answers.put(asked(order)), daemon=True).start()
    try:
        answer = answers.get(timeout=PATIENCE)
    except queue.Empty:
        answer = "!Whoever serves does not answer. End it with Ctrl-C, and start it again."
    if answer.startswith("!"):
        raise Stop(answer.removeprefix("!"))
    return answer


def asked(order: str) -> str:
    try:
        found = json.loads(place().read_text(encoding="utf-8"))
        with Client(("127.0.0.1", found["port"]), authkey=bytes.fromhex(found["key"])) as connection:
            connection.send_bytes(order.encode())
            return connection.recv_bytes().decode()
    except (OSError, ValueError, KeyError, TypeError, OverflowError, EOFError, AuthenticationError):
        return "!No servers run that can be told: start them with `make serve-06` in another terminal."
