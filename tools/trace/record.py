"""One story out of many files: who asked whom, in order, with what the client said and why each of it happened.

A trace is plain JSON data. Times are milliseconds since the run began:

    step, title, thesis, began (ISO 8601), outcome ("" or the sentence that ended the run)
    parties    id, name; in the order of the lanes
    says       number, what, why, at; the client's announcements
    notes      text, at
    exchanges  id, say (a number or None), from, to, at, took, lesson, why, request, response (None: no answer)
    request    method, url, headers (pairs), body, size (bytes), tokens (where, header, claims)
    response   status, reason, headers, body, size, tokens
"""

import contextlib
import json
import re
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from http import HTTPStatus
from pathlib import Path

from shared.tracing import SUFFIX
from tools.catalogue import Step
from tools.trace.telling import split

PARTIES = {
    "browser": "browser",
    "client": "client",
    "machine": "machine",
    "attacker": "attacker",
    "somebody": "somebody",
    "mcp_server": "MCP server",
    "neighbour": "neighbour",
    "auth_server": "authorization server",
    "upstream": "API behind it",
}
PLAYED = {"attacker": "attacker", "user's browser": "browser"}  # parts that the client plays
WHY = {  # what the client does not say, because it does not see it
    "browser > auth_server GET /authorize*": "The user learns who asks, and for what. OAuth 2.1 §4.1.1",
    "browser > auth_server POST /consent*": "The user signs in and decides; the answer is a redirect. OAuth 2.1 §4.1.2",
    "browser > auth_server GET /style.css*": "How the page looks.",
    "browser > client GET /callback*": "The browser carries the answer home, to a port of this program. RFC 8252 §7.3",
    "browser > client GET /done*": "An address without the code in it, for the browser's history. RFC 9700 §4.3.1",
    "* > auth_server GET /.well-known/*": "Whoever checks tokens asks the issuer it trusts for its keys. RFC 8414 §2",
    "* > auth_server GET /jwks*": "With the public keys a signature can be checked, and none be made. RFC 7517 §5",
    "client > neighbour POST /mcp*": "The neighbour checks by the same rules, and finds itself in `aud`. RFC 9068 §4",
    "attacker > auth_server GET /authorize*": "No honest client fetches this page: it sends a browser there.",
    "* > upstream GET *": "With a token of its own, never with the caller's. MCP specification, token passthrough",
}


def made_of(step: Step, folder: Path, outcome: str) -> dict:
    """The trace of one run. The files of its programs are used up."""
    events = [event for path in sorted(folder.glob(f"*{SUFFIX}")) for event in read(path)]
    events.sort(key=lambda event: event.get("began", event["at"]))
    told = [event for event in events if event["kind"] != "begin"]
    began = told[0].get("began", told[0]["at"]) if told else 0
    time_of_day = next((began - event["at"] + event["time_of_day"] for event in events if event["kind"] == "begin"), 0)
    says = [event for event in events if event["kind"] == "say"]
    shown = {event["span"]: event["who"] for event in events if event["kind"] == "shown"}
    exchanges = [event for event in events if event["kind"] == "exchange"]
    seen = [exchange_of(n, event, says, shown, step, began) for n, event in enumerate(exchanges, 1)]
    present = {exchange[end] for exchange in seen for end in ("from", "to")}
    return {
        "step": step.number,
        "title": step.title,
        "thesis": step.thesis,
        "began": datetime.fromtimestamp(time_of_day / 1e9, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z"),
        "outcome": outcome,
        "parties": [{"id": id, "name": name} for id, name in PARTIES.items() if id in present],
        "says": [{name: say[name] for name in ("number", "what", "why")} | {"at": since(began, say)} for say in says],
        "notes": [{"at": since(began, e), "text": e["text"].rstrip(":")} for e in events if e["kind"] == "note"],
        "exchanges": seen,
    }


def read(path: Path) -> list[dict]:
    """What one program wrote down. A row that it could not finish is left out."""
    events = []
    for row in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError):
            events.append(json.loads(row))
    with contextlib.suppress(OSError):
        path.unlink()
    return events


def since(began: int, event: dict) -> float:
    return round((event["at"] - began) / 1e6, 1)


def exchange_of(id: int, event: dict, says: list[dict], shown: dict[str, str], step: Step, began: int) -> dict:
    say = next((say for say in reversed(says) if say["at"] <= event["began"]), None)
    sender = PLAYED.get(shown.get(event["span"], "")) or sender_of(event)
    if sender == "client" and split(event["url"]).path == "/authorize":
        sender = "attacker"
    exchange = {
        "id": id,
        "say": say and say["number"],
        "from": sender,
        "to": event["to"] if event["to"] in PARTIES else "somebody",
        "at": round((event["began"] - began) / 1e6, 1),
        "took": round((event["at"] - event["began"]) / 1e6, 1),
        "request": {"method": event["method"], "url": event["url"], **event["request"]},
        "response": answer_of(event),
    }
    line = in_one_line(exchange)
    unseen = next((why for pattern, why in WHY.items() if fnmatchcase(line, pattern)), "")
    told = say["why"] if say else ""
    exchange["why"] = told if event["span"] in shown else unseen or told
    exchange["lesson"] = any(
        fnmatchcase(f"say: {say['what']}" if pattern.startswith("say: ") and say else line, pattern)
        for pattern in step.lesson
    )
    return exchange


def sender_of(event: dict) -> str:
    if event["sender"] in PARTIES:
        return event["sender"]
    agent = next((value for name, value in event["request"]["headers"] if name == "user-agent"), "")
    return "browser" if "Mozilla" in agent else "somebody"


def answer_of(event: dict) -> dict | None:
    if not event["status"]:
        return None
    reason = HTTPStatus(event["status"]).phrase if event["status"] in set(HTTPStatus) else ""
    return {"status": event["status"], "reason": reason, **event["response"]}


def in_one_line(exchange: dict) -> str:
    """Such as `client > mcp_server POST /mcp 401 invalid_token`: what the patterns of a step are compared with."""
    request, response = exchange["request"], exchange["response"] or {"status": 0, "headers": [], "body": ""}
    challenge = " ".join(value for name, value in response["headers"] if name == "www-authenticate")
    error = re.search(r'error="([^"]*)"', challenge) or re.search(r'"error": "([^"]*)"', response["body"])
    words = [exchange["from"], ">", exchange["to"], request["method"], split(request["url"]).path]
    return " ".join([*words, str(response["status"]), error[1] if error else "-"])
