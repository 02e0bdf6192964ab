"""Write down what goes over the wire, at the receiving end, so that what the client never sees is there too.

Every program writes its own file, one JSON object a line: each request that it received with the answer that it gave,
and what the client says meanwhile. Who sends is told by the headers of W3C Trace Context, as in real systems; a
request without them comes from a browser. (Anybody can send these headers: they are believed for a picture, and for
nothing else.) Secrets are shortened before anything is written.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, TextIO
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.shortening import shortened_url, shown_body, shown_header, taken_apart, without_secrets

if TYPE_CHECKING:
    import httpx2  # not for the servers, which would take longer to start

EVENTS = "TRACE_EVENTS"
SUFFIX = ".events.jsonl"
VENDOR = "workshop"
BROWSER = {"tracestate": f"{VENDOR}=browser"}  # what our visitor says of itself
MOST = 64_000  # bytes of a body
file: TextIO | None = None
signing = False


def wanted() -> bool:
    return os.environ.get("TRACE") != "0"


def begin(path: Path, name: str) -> None:
    """Write what this process receives to `path`, and say in everything that it sends that `name` sends it."""
    global file, signing
    end()
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a", encoding="utf-8", buffering=1)
    write_down("begin", time_of_day=time.time_ns())
    if not signing:
        from shared import outgoing

        outgoing.before.append(lambda request: sign(request, name))
        outgoing.watch()
        signing = True


def end() -> None:
    global file
    if file is not None:
        file.close()
        file = None


def sign(request: httpx2.Request, name: str) -> None:
    request.headers["traceparent"] = f"00-{os.urandom(16).hex()}-{os.urandom(8).hex()}-01"
    request.headers.setdefault("tracestate", f"{VENDOR}={name}")


def write_down(kind: str, **about: object) -> None:
    if file is not None:
        file.write(json.dumps({"kind": kind, "at": time.monotonic_ns(), **about}) + "\n")


def shown(request: httpx2.Request, who: str) -> None:
    """The client tells who was meant to have sent this: it plays the attacker's part, too."""
    write_down("shown", span=request.headers.get("traceparent", ""), who=who)


class Recorder:
    """Writes down each exchange of `app`. Our own question whether it is up is none."""

    def __init__(self, app: ASGIApp, name: str):
        self.app, self.name = app, name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == "/health":
            return await self.app(scope, receive, send)
        exchange = Exchange(self.name, scope["method"], url_of(scope), headers_of(scope["headers"]))

        async def heard() -> Message:
            message = await receive()
            exchange.request += message.get("body", b"")[: MOST - len(exchange.request)]
            return message

        async def said(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status, exchange.answer_headers = message["status"], headers_of(message["headers"])
            else:
                exchange.answer += message.get("body", b"")[: MOST - len(exchange.answer)]
                if not message.get("more_body"):
                    exchange.write_down()  # before it is sent: what it brings about comes after it
            await send(message)

        try:
            await self.app(scope, heard, said)
        finally:
            exchange.write_down()


class Exchange:
    """One request, and what was answered; written down once."""

    def __init__(self, to: str, method: str, url: str, headers: list[tuple[str, str]]):
        self.began = time.monotonic_ns()  # the same for all programs of a computer, whatever their clocks say
        self.to, self.method, self.url, self.headers = to, method, url, headers
        self.request = self.answer = b""
        self.status = 0
        self.answer_headers: list[tuple[str, str]] = []
        self.written = False

    def write_down(self) -> None:
        if self.written:
            return
        self.written = True
        sent = dict(self.headers)
        write_down(
            "exchange",
            began=self.began,
            to=self.to,
            sender=dict(pair.partition("=")[::2] for pair in sent.get("tracestate", "").split(",")).get(VENDOR, ""),
            span=sent.get("traceparent", ""),
            method=self.method,
            url=shortened_url(self.url),
            status=self.status,
            request=part(self.headers, self.request),
            response=part(self.answer_headers, self.answer),
        )


def part(headers: list[tuple[str, str]], body: bytes) -> dict:
    kinds = {value for name, value in headers if name == "content-type"}
    kind = kinds.pop() if len(kinds) == 1 else ""  # one that is said twice is not believed
    return {
        "headers": [[name, shown_header(name, value)] for name, value in headers],
        "body": shown_body(body, kind),
        "size": len(body),
        "tokens": tokens_in(headers, body, kind),
    }


def tokens_in(headers: list[tuple[str, str]], body: bytes, kind: str) -> list[dict]:
    """Every token that is a JWT, with what it says: in the header, in a form, in a JSON answer."""
    found: dict[str, object] = {"authorization": dict(headers).get("authorization", "").partition(" ")[2]}
    text, content = body.decode("utf-8", errors="replace"), {}
    with contextlib.suppress(ValueError, RecursionError):
        if kind.startswith("application/json") and text.startswith("{"):
            content = json.loads(text)
        elif kind.startswith("application/x-www-form-urlencoded"):
            content = dict(parse_qsl(text))
    found |= {name: content.get(name) for name in ("access_token", "client_assertion")}
    parts = {where: taken_apart(token) for where, token in found.items() if isinstance(token, str)}
    return [
        {"where": where, "header": without_secrets(two[0]), "claims": without_secrets(two[1])}
        for where, two in parts.items()
        if two
    ]


def headers_of(pairs: list[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in pairs]


def url_of(scope: Scope) -> str:
    host = dict(headers_of(scope["headers"])).get("host", "")
    query = scope["query_string"].decode("latin-1")
    path = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
    return f"http://{host}{path}" + (f"?{query}" if query else "")


def page_was_visited(handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes) -> None:
    """The client's own page on 127.0.0.1 is no ASGI app; it tells us of a visit before it answers."""
    asked = [(name.lower(), value) for name, value in handler.headers.items()]
    exchange = Exchange("client", handler.command, f"http://{dict(asked).get('host', '')}{handler.path}", asked)
    exchange.status, exchange.answer = status, body
    exchange.answer_headers = [(name.lower(), value) for name, value in headers.items()]
    exchange.write_down()
