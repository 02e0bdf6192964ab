"""Play a README: apply its edits, run its commands, and compare what it shows with what comes.

Three kinds of fenced block matter. `console`: lines that begin with `$ ` are commands, what follows is their output; a
line that says only `…` stands for any number of lines. `diff`: the edit of an experiment; its first line names the
file, `-` lines are replaced by `+` lines. An edit holds until the next heading. Other blocks are only read.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

VARYING = (  # what differs from run to run, and what it is read as
    (r"127\.0\.0\.1(:|%3A)\d+", r"127.0.0.1\1PORT"),
    (r"(?<![\w-])[\w-]{6}(…|\.\.\.)", "RANDOM…"),
    (r"\(\d+ characters\)", "(N characters)"),
    (r"\b1[789]\d{8}\b", "TIME"),
    (r"(?<![\w-])(?=[\w-]*[A-Z])(?=[\w-]*[a-z])[\w-]{20,}", "RANDOM"),
    (r"(kid +)\S+", r"\1RANDOM"),
    (r" +$", ""),
    (r"(?<=\S)   *", "  "),  # the columns of a table are as wide as what stands in them
    (r"^ +part .*$|^ ─+$", "TABLE"),
)


@dataclass
class Command:
    """One command, the output shown for it, and the edits that hold while it runs."""

    line: int
    words: str
    shown: list[str] = field(default_factory=list)
    edits: list["Edit"] = field(default_factory=list)


@dataclass(frozen=True)
class Edit:
    """Replace one piece of text, which stands in the file exactly once."""

    file: str
    old: str
    new: str

    def apply(self, root: Path) -> None:
        path = root / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file}: the text to replace stands there {text.count(self.old)} times:\n{self.old}")
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")


def commands(readme: Path) -> list[Command]:
    found: list[Command] = []
    edits: list[Edit] = []
    for line, kind, rows in blocks(readme.read_text(encoding="utf-8")):
        if kind == "heading":
            edits = []
        elif kind == "diff":
            edits = [*edits, *edits_in(rows)]
        elif kind == "console":
            for offset, row in enumerate(rows):
                if row.startswith("$ "):
                    found.append(Command(line + offset, row.removeprefix("$ "), edits=edits))
                else:
                    found[-1].shown.append(row)
    return found


def blocks(text: str) -> Iterator[tuple[int, str, list[str]]]:
    kind, start, rows = "", 0, []
    for number, row in enumerate(text.splitlines(), 1):
        if row.startswith("```"):
            if kind:
                yield start, kind, rows
                kind = ""
            else:
                kind, start, rows = row.removeprefix("```").strip() or "text", number + 1, []
        elif kind:
            rows.append(row)
        elif row.startswith("#"):
            yield number, "heading", [row]


def edits_in(rows: list[str]) -> list[Edit]:
    file = rows[0].removeprefix("--- ").strip()
    found: list[tuple[str, str]] = []
    for row in rows[1:]:
        sign, text = row[:1], row[1:] + "\n"
        if sign == "-" and (not found or found[-1][1]):
            found.append(("", ""))
        old, new = found.pop()
        found.append((old + text, new) if sign == "-" else (old, new + text))
    return [Edit(file, old, new) for old, new in found]


def missing(shown: list[str], said: str) -> list[str]:
    """The first piece of what is shown that is not in what was said, after all pieces before it; empty if none."""
    rows = alike(said.splitlines())
    position = 0
    for piece in pieces(alike(shown)):
        places = [n for n in range(position, len(rows) - len(piece) + 1) if rows[n : n + len(piece)] == piece]
        if not places:
            return piece
        position = places[0] + len(piece)
    return []


def pieces(rows: list[str]) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for row in rows:
        if row.strip() == "…":
            found.append([])
        else:
            found[-1].append(row)
    return [piece for piece in found if piece]


def alike(rows: list[str]) -> list[str]:
    """The rows without what differs from run to run."""
    for pattern, instead in VARYING:
        rows = [re.sub(pattern, instead, row) for row in rows]
    return [row for row in rows if row != "TABLE"]
