"""docs/errors.md, made from the exhibits."""

import textwrap
from collections.abc import Iterator
from itertools import groupby

from exhibits.core import EXHIBITS, Exhibit
from tools.catalogue import Step, all_steps
from tools.environment import ROOT

PATH = ROOT / "docs" / "errors.md"
WIDTH = 116
BEGINNING = """\
# The error museum

Error strings that people meet around MCP and OAuth, and paste into a search engine: what causes each of them, what
to do, and the step that is about it. `…` stands for what is different every time. Each has a command that makes it
appear on your own computer, with servers of its own on free ports, and a test runs them all. `python -m exhibits`
lists them.

```console
$ python -m exhibits invalid-host
WARNING mcp.server.transport_security: Invalid Host header: mcp.example
HTTP/1.1 421 Misdirected Request
…
```

In the folder of this workshop, `python -m exhibits` sets up what it needs the first time, like `make` does. Some
need more than that, and say so. This page is written by `python -m exhibits --write`: change the folder
`exhibits/`, not the page.
"""


def write() -> None:
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(text(), encoding="utf-8", newline="\n")
    print(f"wrote {PATH.relative_to(ROOT).as_posix()}")


def text() -> str:
    rooms = [(title, list(exhibits)) for title, exhibits in groupby(EXHIBITS.values(), lambda one: one.group)]
    rows = [BEGINNING]
    for title, exhibits in rooms:
        rows += [f"**{title}**", ""]
        rows += [f"- [{inline(one.text)}](#{one.name})" for one in exhibits]
        rows += [""]
    for title, exhibits in rooms:
        rows += [f"## {title}", ""]
        for one in exhibits:
            rows += section(one)
    return "\n".join(rows).rstrip() + "\n"


def section(exhibit: Exhibit) -> Iterator[str]:
    yield from (f"### {exhibit.name}", "", "```text", exhibit.text, "```", "")
    needed = f" Needs {exhibit.needs}." if exhibit.needs else ""
    for word, about in (
        ("Seen", exhibit.seen),
        ("Why", exhibit.cause),
        ("What to do", exhibit.cure),
        ("Step", link(all_steps()[exhibit.step]) + needed),
    ):
        yield from (wrapped(f"**{word}:** {about}"), "")
    yield from ("```console", f"$ python -m exhibits {exhibit.name}", "```", "")


def link(step: Step) -> str:
    return f"[{step.number} {step.title}](../steps/{step.folder}/README.md)."


def inline(code: str) -> str:
    return f"`` {code} ``" if "`" in code else f"`{code}`"


def wrapped(paragraph: str) -> str:
    return textwrap.fill(paragraph, WIDTH, break_long_words=False, break_on_hyphens=False)
