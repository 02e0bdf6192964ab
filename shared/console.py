"""Tell a person what happens: numbered exchanges, secrets shortened, readable with and without colour.

`REVEAL=1` shows secrets and long bodies whole. `NO_COLOR=1` and pipes get plain text, old consoles get ASCII.
"""

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import httpx2
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shared import shortening, tracing
from shared.addresses import ISSUER, NEIGHBOUR, RESOURCE, UPSTREAM
from shared.shortening import (
    first_words,
    form_without_secrets,
    shortened_url,
    shown_header,
    taken_apart,
    without_secrets,
)
from shared.stop import Stop

for stream in (sys.stdout, sys.stderr):
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")  # a console in an old code page must not end the program


class Terminal(Console):
    def on_broken_pipe(self) -> None:
        """Whoever was reading, like `head`, has had enough. That is no error."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


out = Terminal(highlight=False, emoji=False, safe_box=True)
err = Console(stderr=True, highlight=False, emoji=False)
numbers = itertools.count(1)
let_pass: Callable[[float], object] = time.sleep


def drawable(glyph: str, instead: str) -> str:
    try:
        glyph.encode(out.encoding)
    except UnicodeEncodeError:
        return instead
    return glyph


ARROW, BACK, DASH, DOTS = drawable("→", "->"), drawable("←", "<-"), drawable("─", "-"), drawable("…", "...")

LONGEST_BODY = 24  # lines
SHOWN = "workshop_shown"

REQUEST_HEADERS = ("authorization", "origin", "mcp-protocol-version", "mcp-method", "mcp-name")
RESPONSE_HEADERS = ("www-authenticate", "location", "cache-control", "retry-after")

CLAIMS = {
    "typ": "what kind of token this is",
    "alg": "how it is signed",
    "kid": "which key signed it",
    "iss": "who made it",
    "aud": "whose door it opens",
    "sub": "on whose behalf",
    "client_id": "which program carries it",
    "scope": "what it may be used for",
    "iat": "when it was made",
    "nbf": "not before this moment",
    "exp": "when it stops working",
    "jti": "its own number",
}


# ── saying ────────────────────────────────────────────────────────────────────────────────────────


def title(text: str) -> None:
    line(("\n" + text, "bold"), indent="")


def say(what: str, why: str = "") -> None:
    """Announce the next exchange: a number, what we do, and why the specification wants it."""
    number = next(numbers)
    tracing.write_down("say", number=number, what=what, why=why)
    line((f"\n{number:>2}  {what}", "bold cyan"), indent="")
    if why:
        line((why, "dim"))


def note(text: str) -> None:
    tracing.write_down("note", text=text)
    line((text, "yellow"))


def wait(what: str, seconds: float) -> None:
    """Let time pass, and say so. Whoever holds the servers can turn their clocks instead."""
    how = "We wait" if let_pass is time.sleep else "We turn the servers' clocks forward"
    note(f"{how} {what}: {seconds:g} seconds.")
    let_pass(seconds)


def learned(*facts: str) -> None:
    """The end of a walk: what is known now that was not known before."""
    line((f"\n{DASH * 2} What we know now {DASH * 2}", "bold green"), indent="")
    for fact in facts:
        line(f"  * {fact}", indent="")


# ── showing ───────────────────────────────────────────────────────────────────────────────────────


def show(answer: httpx2.Response, who: str = "client") -> None:
    """One exchange, as it went over the wire: who asked whom, the headers and bodies that matter."""
    tracing.shown(answer.request, who)
    if SHOWN not in answer.request.extensions:
        show_request(answer.request, who)
    colour = "green" if answer.status_code < 400 else "red"
    line(f"{BACK} ", (f"{answer.status_code} {answer.reason_phrase}", colour))
    show_headers(answer.headers, RESPONSE_HEADERS)
    show_body(answer.content, answer.headers.get("content-type", ""))


def show_request(request: httpx2.Request, who: str = "client") -> None:
    request.extensions[SHOWN] = True
    way = f"{who} {ARROW} {name_of(request.url)}".strip()
    line(f"{way}   ", (request.method, "bold"), f" {shortened_url(str(request.url))}")
    if request.headers.get("host") != request.url.netloc.decode("ascii"):
        show_headers(request.headers, ("host",))
    show_headers(request.headers, REQUEST_HEADERS)
    show_body(request.content, request.headers.get("content-type", ""))


async def watch(answer: httpx2.Response) -> None:
    """`show` as an event hook of an `httpx2.AsyncClient`: it shows what a library does with it."""
    await answer.aread()
    show(answer)


def show_token(token: str) -> None:
    """Take a JWT apart, unverified, and say a word on every part."""
    table = Table(box=box.SIMPLE if out.encoding == "utf-8" else box.ASCII, pad_edge=False)
    table.add_column("    part")
    table.add_column("value", overflow="fold")
    table.add_column("what it says", overflow="fold")
    parts = taken_apart(token)
    if parts is None:
        return note("This token is no JWT: only the server that made it can read it.")
    for name, value in [*parts[0].items(), *parts[1].items()]:
        table.add_row(f"    {name}", Text(str(value)), CLAIMS.get(name, ""))
    out.print(table)


def line(*parts: str | tuple[str, str], indent: str = "    ") -> None:
    """One line, however long: pieces of text, some of them with a style."""
    text = Text.assemble(indent, *parts)
    if DOTS != "…" and "…" in text.plain:
        text = Text(text.plain.replace("…", DOTS))
    out.print(text, soft_wrap=True)


def name_of(url: httpx2.URL) -> str:
    names = {ISSUER: "authorization server", RESOURCE: "MCP server", NEIGHBOUR: "neighbour", UPSTREAM: "API behind it"}
    for known, name in names.items():
        if urlsplit(known).netloc == url.netloc.decode("ascii"):
            return name
    return url.host


def show_headers(headers: httpx2.Headers, interesting: tuple[str, ...]) -> None:
    for name in interesting:
        for value in headers.get_list(name):
            line((f"  {name}: ", "dim"), shown_header(name, value))


def show_body(content: bytes, content_type: str) -> None:
    text = content.decode("utf-8", errors="replace")
    if content_type.startswith("application/x-www-form-urlencoded"):
        for name, value in form_without_secrets(text):
            line(f"  {name} = {value}")
    elif content_type.startswith("application/json"):
        rows = pretty_json(text).splitlines()
        shown = rows if shortening.REVEAL else rows[:LONGEST_BODY]
        for row in shown:
            line(f"  {row}")
        if len(rows) > len(shown):
            line((f"  {DOTS} and {len(rows) - len(shown)} more lines, which REVEAL=1 shows", "dim"))
    elif content_type.startswith("text/plain") and len(text) < 200:
        line(f"  {text}")
    elif page := first_words(text):
        line((f"  (a page: {page})", "dim"))
    elif text:
        line((f"  ({len(content)} bytes of {content_type or 'something'})", "dim"))


def pretty_json(text: str) -> str:
    try:
        return laid_out(without_meta(without_secrets(json.loads(text))))
    except (ValueError, RecursionError):
        return f"(not JSON, whatever its content type says: {text[:60]})"


def without_meta(value: object) -> object:
    """Without what every MCP message repeats."""
    if isinstance(value, list):
        return [without_meta(inner) for inner in value]
    if not isinstance(value, dict) or shortening.REVEAL:
        return value
    return {name: "…" if name == "_meta" else without_meta(inner) for name, inner in value.items()}


def laid_out(value: object, indent: str = "", taken: int = 0) -> str:
    """JSON on one line where it fits, after so many characters, and on many where it does not."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(indent) + taken + len(flat) <= 74 or not isinstance(value, (dict, list)):
        return flat
    deeper = indent + "  "
    if isinstance(value, dict):
        rows = [f"{json.dumps(name)}: {laid_out(inner, deeper, len(name) + 4)}" for name, inner in value.items()]
        opening, closing = "{", "}"
    else:
        rows = [laid_out(inner, deeper) for inner in value]
        opening, closing = "[", "]"
    return opening + ",".join(f"\n{deeper}{row}" for row in rows) + f"\n{indent}{closing}"


# ── ending ────────────────────────────────────────────────────────────────────────────────────────


def run(main: Callable[[], None]) -> None:
    """Run a program to its end; whatever goes wrong in the world becomes one sentence and an exit code."""
    try:
        main()
    except KeyboardInterrupt:
        err.print("\nStopped.")
        sys.exit(130)
    except Exception as error:
        for cause in causes(error):
            if sentence := sentence_for(cause):
                err.print(Text(f"\n{sentence}", "red"), soft_wrap=True)
                sys.exit(1)
        raise


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error itself, and those that a task group or a library wrapped around."""
    yield error
    for inner in getattr(error, "exceptions", ()):
        yield from causes(inner)
    if error.__cause__:
        yield from causes(error.__cause__)


def sentence_for(error: BaseException) -> str:
    if isinstance(error, Stop):
        return str(error)
    if isinstance(error, (httpx2.InvalidURL, httpx2.UnsupportedProtocol)):
        return f"A server sent us to an address that cannot be asked: {shortened_url(str(error))}"
    if isinstance(error, httpx2.TimeoutException):
        return f"The {name_of(error.request.url)} at {shortened_url(str(error.request.url))} took too long to answer."
    if isinstance(error, httpx2.TransportError):
        return (
            f"Nobody answers at {shortened_url(str(error.request.url))}: is the {name_of(error.request.url)} running? "
            "`python -m steps serve` with the step's number starts it."
        )
    if type(error).__name__ == "MCPError":  # of the SDK, which not every program here has loaded
        return (
            f"The MCP server refuses what this client counts on ({error.message}); why, its log says. "
            "Who builds a step may have the client of the step before in it still."
        )
    return ""
