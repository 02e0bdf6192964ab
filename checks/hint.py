"""The three hints of a check: where to look, what to do, and how the lesson does it."""

import ast
import re
from pathlib import Path

from checks.core import Check
from tools.catalogue import step_named
from tools.lessons import FILE_NAME

LAST = 3
LONGEST = 40  # lines of a hunk that still show one thing


def hint(check: Check, number: int) -> str:
    return check.hints[number - 1] if number < LAST else of_the_lesson(check)


def of_the_lesson(check: Check) -> str:
    """The hunk of LESSON.diff that brings the rule; where that is longer than a page, or there is none, its code."""
    step = step_named(check.step)
    whole = definition(step.path / check.file, check.rule)
    hunks = hunks_of(step.path / FILE_NAME, check.file)
    rule = re.escape(check.rule)
    brought, inside = rf"^\+((async )?def |class )?{rule}\b", rf"^@@.*\bdef {rule}\b"
    for wanted in (brought, inside, rf"^\+.*\b{rule}\b", rf"\b{rule}\b"):
        found = [hunk for hunk in hunks if re.search(wanted, hunk, re.M)]
        if found:
            return whole if whole and len(found[0].splitlines()) > LONGEST else found[0]
    return whole


def hunks_of(lesson: Path, name: str) -> list[str]:
    """What a lesson changes in one file, hunk by hunk."""
    if not lesson.is_file():
        return []
    of_files = re.split(r"^--- .*\n", lesson.read_text(encoding="utf-8"), flags=re.M)
    of_file = [part for part in of_files if part.partition("\n")[0].endswith(f"/{name}")]
    return [f"@@{hunk}" for part in of_file for hunk in re.split(r"^@@", part, flags=re.M)[1:]]


def definition(program: Path, rule: str) -> str:
    """The lines of the function, class or constant of this name, as the program has them."""
    text = program.read_text(encoding="utf-8")
    for node in ast.parse(text).body:
        if rule in names_of(node):
            first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
            return "\n".join(text.splitlines()[first - 1 : node.end_lineno])
    return ""


def names_of(node: ast.stmt) -> list[str]:
    targets = [*getattr(node, "targets", []), getattr(node, "target", None)]
    return [getattr(node, "name", ""), *(getattr(target, "id", "") for target in targets)]
