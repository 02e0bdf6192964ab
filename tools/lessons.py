"""What a step adds to the one before: that difference is the lesson, so it is generated, kept, and checked."""

import os
import subprocess
from pathlib import Path

from tools.catalogue import Step, all_steps, before
from tools.environment import ROOT

FILE_NAME = "LESSON.diff"
WITHOUT = ("index ", "diff --git ", "new file mode ")


def lesson(step: Step) -> str:
    """The unified diff of all programs, as git draws it, without the lines that only git needs."""
    previous = before(step)
    return "".join(difference(previous.path / name, step.path / name) for name in step.files)


def difference(old: Path, new: Path) -> str:
    options = ["--no-index", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/"]
    options += ["--histogram", "--indent-heuristic", "--unified=3", "--inter-hunk-context=0"]
    before = old.relative_to(ROOT).as_posix() if old.is_file() else os.devnull
    found = subprocess.run(
        ["git", "diff", *options, "--", before, new.relative_to(ROOT).as_posix()],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
    ).stdout
    return "".join(row for row in found.splitlines(keepends=True) if not row.startswith(WITHOUT))


def counted(diff: str) -> dict[str, tuple[int, int]]:
    """Lines added and removed, by the name of the file."""
    counts: dict[str, tuple[int, int]] = {}
    name = ""
    for row in diff.splitlines():
        if row.startswith("+++ "):
            name = row.rpartition("/")[2]
            counts[name] = (0, 0)
        elif row.startswith(("+", "-")) and not row.startswith("--- "):
            added, removed = counts[name]
            counts[name] = (added + row.startswith("+"), removed + row.startswith("-"))
    return counts


def write_all() -> list[Path]:
    """Write every LESSON.diff anew; the paths of those that changed."""
    changed = []
    for step in list(all_steps().values())[1:]:
        path, now = step.path / FILE_NAME, lesson(step)
        if not path.is_file() or path.read_text(encoding="utf-8") != now:
            path.write_text(now, encoding="utf-8", newline="\n")
            changed.append(path)
    return changed
