"""A lesson as a page: the step before on the left, the step on the right, what changed between them marked.

The page is one file that asks no network for anything. It aligns the same lines as LESSON.diff, which git draws.
"""

import base64
import difflib
import hashlib
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup
from pygments.lexers import PythonLexer
from pygments.token import Token

from tools import lessons
from tools.catalogue import Step, before
from tools.environment import ROOT

TEMPLATES = Path(__file__).parent / "templates"
AROUND = 3  # unchanged lines that stay open beside a change
WORTH_FOLDING = 4  # lines
ALIKE = 0.5  # from here on two lines are two versions of one
PAIRS = 10_000  # comparisons in one change: more take too long
HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
COLOURS = (  # the first that fits; the class is what the style sheet of the page calls it
    (Token.Comment, "c"),
    (Token.Literal.String, "s"),
    (Token.Literal.Number, "n"),
    (Token.Keyword, "k"),
    (Token.Operator.Word, "k"),
    (Token.Name.Function, "f"),
    (Token.Name.Class, "f"),
    (Token.Name.Decorator, "d"),
)
Spans = list[tuple[int, int]]  # from, to: columns of a line


@dataclass(frozen=True)
class Line:
    number: int
    code: Markup

    @property
    def is_rule(self) -> bool:
        """A line drawn across the file, which need not be seen to its end."""
        return self.code.endswith("───</span>")


@dataclass(frozen=True)
class Stretch:
    """Lines that are alike on both sides, or one change. None keeps a place free beside a line of the other side."""

    kind: str  # same, change
    old: list[Line | None]
    new: list[Line | None]
    folded: bool = False
    inside: str = ""  # the function that a folded stretch ends in


@dataclass(frozen=True)
class File:
    name: str
    added: int
    removed: int
    is_new: bool
    stretches: list[Stretch]


def write(step: Step) -> Path:
    """Write `out/diff-05.html` for step 05, and say where it is."""
    path = ROOT / "out" / f"diff-{step.number}.html"
    path.parent.mkdir(exist_ok=True)
    path.write_text(page(step), encoding="utf-8", newline="\n")
    return path


def page(step: Step) -> str:
    previous = before(step)
    found = (compared(name, previous.path / name, step.path / name) for name in step.files)
    files = [file for file in found if file.added or file.removed]
    style, script = (Markup((TEMPLATES / name).read_text(encoding="utf-8")) for name in ("diff.css", "diff.js"))
    pages = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True)
    return pages.get_template("diff.html").render(
        step=step,
        previous=previous,
        files=files,
        style=style,
        script=script,
        policy=f"default-src 'none'; style-src {fingerprint(style)}; script-src {fingerprint(script)}; "
        "base-uri 'none'; form-action 'none'",
    )


def fingerprint(text: str) -> str:
    """What a content security policy calls this very text, and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


# ── what stands beside what ───────────────────────────────────────────────────────────────────────


def compared(name: str, old: Path, new: Path) -> File:
    diff = lessons.difference(old, new)
    texts = [path.read_text(encoding="utf-8") if path.is_file() else "" for path in (old, new)]
    rows, coloured = [text.splitlines() for text in texts], [list(coloured_lines(text)) for text in texts]
    stretches: list[Stretch] = []
    reached = (0, 0)
    for change in changes(diff):
        same = range(reached[0], change[0].start), range(reached[1], change[1].start)
        stretches += folded(same, rows[1], coloured, first=not any(reached))
        stretches.append(changed(change, rows, coloured))
        reached = change[0].stop, change[1].stop
    rest = range(reached[0], len(rows[0])), range(reached[1], len(rows[1]))
    stretches += folded(rest, rows[1], coloured, last=True)
    added, removed = lessons.counted(diff).get(name, (0, 0))
    return File(name, added, removed, not old.is_file(), stretches)


def changes(diff: str) -> Iterator[tuple[range, range]]:
    """The line numbers, from 0, that each change takes away on the left and brings on the right."""
    old = new = 0
    taken, brought = 0, 0
    for row in [*diff.splitlines(), " "]:
        if taken + brought and not row.startswith(("+", "-")):
            yield range(old - taken, old), range(new - brought, new)
            taken = brought = 0
        if begins := HUNK.match(row):
            old = int(begins[1]) - (begins[2] != "0")
            new = int(begins[3]) - (begins[4] != "0")
        elif row.startswith("-") and not row.startswith("--- "):
            old, taken = old + 1, taken + 1
        elif row.startswith("+") and not row.startswith("+++ "):
            new, brought = new + 1, brought + 1
        elif row.startswith(" "):
            old, new = old + 1, new + 1


def folded(
    same: tuple[range, range], rows: list[str], coloured: list, first: bool = False, last: bool = False
) -> Iterator[Stretch]:
    """An unchanged stretch in up to three: open beside the change above, folded, open beside the change below."""
    length = len(same[1])
    head, tail = (0 if first else AROUND), (0 if last else AROUND)
    cuts = [(0, length, False)]
    if length - head - tail >= WORTH_FOLDING:
        cuts = [(0, head, False), (head, length - tail, True), (length - tail, length, False)]
    for begin, end, is_folded in cuts:
        if begin < end:
            old, new = ([Line(n + 1, joined(coloured[i][n])) for n in same[i][begin:end]] for i in (0, 1))
            yield Stretch("same", old, new, is_folded, function_at(rows, same[1][end - 1]) if is_folded else "")


def function_at(rows: list[str], number: int) -> str:
    """The definition that this line belongs to, as far as indentation tells."""
    for row in reversed(rows[: number + 1]):
        if found := re.match(r"(?:async )?(def|class) (\w+)", row):
            return f"{found[1]} {found[2]}"
        if row and not row[0].isspace() and not row.startswith((")", "#", "@")):
            return ""
    return ""


def changed(change: tuple[range, range], rows: list[list[str]], coloured: list) -> Stretch:
    """The two sides of one change: versions of one line beside each other, the words that differ marked."""
    taken, brought = ([rows[i][n] for n in change[i]] for i in (0, 1))
    old: list[Line | None] = []
    new: list[Line | None] = []
    for left, right in aligned(taken, brought):
        words: tuple[Spans, Spans] = ([], [])
        if left is not None and right is not None:
            words = differing(taken[left], brought[right])
        for side, position, lines in ((0, left, old), (1, right, new)):
            number = None if position is None else change[side][position]
            lines.append(None if number is None else Line(number + 1, joined(coloured[side][number], words[side])))
    return Stretch("change", old, new)


def aligned(old: list[str], new: list[str]) -> list[tuple[int | None, int | None]]:
    """Which line stands beside which: the pairs that are most alike in all, and the others beside a free place."""
    if not old or not new or len(old) * len(new) > PAIRS:
        return beside(range(len(old)), range(len(new)))
    score = [[0.0] * (len(new) + 1) for _ in range(len(old) + 1)]
    alike = [[likeness(left, right) for right in new] for left in old]
    for i in reversed(range(len(old))):
        for j in reversed(range(len(new))):
            score[i][j] = max(score[i + 1][j], score[i][j + 1], alike[i][j] + score[i + 1][j + 1])
    pairs: list[tuple[int | None, int | None]] = []
    i = j = seen_i = seen_j = 0
    while i < len(old) and j < len(new):
        if alike[i][j] and score[i][j] == alike[i][j] + score[i + 1][j + 1]:
            pairs += [*beside(range(seen_i, i), range(seen_j, j)), (i, j)]
            i, j = seen_i, seen_j = i + 1, j + 1
        elif score[i][j] == score[i + 1][j]:
            i += 1
        else:
            j += 1
    return pairs + beside(range(seen_i, len(old)), range(seen_j, len(new)))


def beside(old: range, new: range) -> list[tuple[int | None, int | None]]:
    """Lines that have nothing to do with each other: from the top on both sides."""
    longer = max(len(old), len(new))
    return list(zip([*old, *[None] * (longer - len(old))], [*new, *[None] * (longer - len(new))], strict=True))


def likeness(left: str, right: str) -> float:
    if not left.strip() or not right.strip():
        return 0.0
    match = difflib.SequenceMatcher(None, left.strip(), right.strip(), autojunk=False)
    return match.ratio() if match.quick_ratio() >= ALIKE and match.ratio() >= ALIKE else 0.0


def differing(left: str, right: str) -> tuple[Spans, Spans]:
    """The words of two lines that differ; nothing where too little is alike for words to say anything."""
    if likeness(left, right) < ALIKE:
        return [], []
    words = [re.findall(r"\w+|\s+|[^\w\s]", row) for row in (left, right)]
    match = difflib.SequenceMatcher(None, *words, autojunk=False)
    found: tuple[Spans, Spans] = ([], [])
    for kind, *ends in match.get_opcodes():
        for side in (0, 1):
            begin, end = (len("".join(words[side][:at])) for at in ends[2 * side : 2 * side + 2])
            if kind != "equal" and begin < end:
                found[side].append((begin, end))
    return found


# ── colours ───────────────────────────────────────────────────────────────────────────────────────


def coloured_lines(text: str) -> Iterator[list[tuple[str, str]]]:
    """Each line as pieces of text with the class of their colour."""
    line: list[tuple[str, str]] = []
    for kind, piece in PythonLexer(stripnl=False, ensurenl=False).get_tokens(text):
        colour = next((name for known, name in COLOURS if kind in known), "")
        first, *others = piece.split("\n")
        line.append((colour, first))
        for other in others:
            yield line
            line = [(colour, other)]
    yield line


def joined(pieces: list[tuple[str, str]], marked: Spans = ()) -> Markup:
    """One line as HTML: everything in it is escaped, only the colours and marks are ours."""
    edges = sorted({edge for span in marked for edge in span})
    found, column = "", 0
    for colour, text in pieces:
        for part in parted(text, [edge - column for edge in edges]):
            is_marked = any(begin <= column < end for begin, end in marked)
            inner = f"<mark>{html.escape(part)}</mark>" if is_marked else html.escape(part)
            found += f'<span class="{colour}">{inner}</span>' if colour else inner
            column += len(part)
    return Markup(found)


def parted(text: str, edges: list[int]) -> Iterator[str]:
    cuts = [0, *(edge for edge in edges if 0 < edge < len(text)), len(text)]
    return (text[begin:end] for begin, end in zip(cuts, cuts[1:], strict=False) if begin < end)
