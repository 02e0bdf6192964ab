"""A trace as one page that needs nothing else: no network, no other file, no server.

What was recorded may be hostile, so it is held in three ways: nothing in it can end the element it stands in, the
script puts it on the page as text, and the page's own policy runs no script but the one with this hash.
"""

import base64
import hashlib
import html
import json
from pathlib import Path
from string import Template

from shared.console import CLAIMS
from tools.trace import telling
from tools.trace.telling import Row, Section

HERE = Path(__file__).parent
SCRIPTS = ("page.js", "details.js", "moving.js")  # one script, in this order
HARMLESS = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})  # the same characters, to JSON


def render(trace: dict) -> str:
    """The whole page, as text. The trace is as `tools.trace.record` describes it."""
    shell, style = file("page.html"), file("page.css")
    script = "".join(map(file, SCRIPTS))
    return Template(shell).substitute(
        title=html.escape(f"Step {trace['step']}: {trace['title']}"),
        style=style,
        style_hash=hash_of(style),
        script=script,
        script_hash=hash_of(script),
        data=as_data(contents(trace)),
    )


def file(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def hash_of(text: str) -> str:
    """How a Content Security Policy names one inline style or script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def as_data(value: object) -> str:
    """JSON in plain ASCII without one character that means anything to HTML."""
    return json.dumps(value, separators=(",", ":")).translate(HARMLESS)


def contents(trace: dict) -> dict:
    known = ("step", "title", "thesis", "began", "outcome")
    return {name: trace[name] for name in known} | {
        "parties": telling.parties(trace),
        "sections": [section_of(section) for section in telling.sections(trace)],
        "exchanges": {exchange["id"]: with_few_words(exchange) for exchange in trace["exchanges"]},
        "claims": CLAIMS,
    }


def with_few_words(exchange: dict) -> dict:
    return exchange | {"asked": telling.asked(exchange), "answered": telling.answered(exchange)}


def section_of(section: Section) -> dict:
    return {"say": section.say, "lesson": section.lesson, "rows": [row_of(row) for row in section.rows]}


def row_of(row: Row) -> dict:
    return {"kind": row.kind, "id": row.exchange and row.exchange["id"], "text": row.text}
