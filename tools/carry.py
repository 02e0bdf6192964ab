"""Bring an uncommitted edit of one step into every later step.

Hop by hop: what step 02 had when it was committed is the base, what it has now is the change, and `git merge-file`
puts that change into step 03; then from 03 into 04, and so on. A clash stops the walk with the file named and the
usual conflict markers in it. Settle it, give the same command again, and the walk goes on where it stopped.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from shared.stop import Stop
from tools import environment, lessons
from tools.catalogue import ROLES, Step, after

CLASH_MARKER = "<<<<<<< "


def carry(start: Step, say: Callable[[str], None], tested: bool = True) -> None:
    notes = Notes(start)
    source = start
    for target in after(start):
        changed = [role for role in ROLES if hop(source, target, role, notes)]
        if changed:
            say(f"{source.number} -> {target.number}: {', '.join(changed)}")
            if tested:
                test(target, say)
        else:
            say(f"{source.number} -> {target.number}: nothing to do")
        source = target
    notes.forget()
    for path in lessons.write_all():
        say(f"wrote {path.relative_to(environment.ROOT).as_posix()}")


def hop(source: Step, target: Step, role: str, notes: "Notes") -> bool:
    """Merge one file into the next step. True if that changed it."""
    theirs, ours = source.path / role, target.path / role
    name = ours.relative_to(environment.ROOT).as_posix()
    if notes.has(name):
        if CLASH_MARKER in ours.read_text(encoding="utf-8"):
            raise Stop(f"There are still conflict markers in {name}. Settle them and carry on with the same command.")
        return True  # merged before we stopped: to be tested again
    base = committed(theirs)
    if base == theirs.read_bytes():
        return False
    before = ours.read_bytes()
    clashes = merge(ours, base, theirs, (target.number, source.number))
    notes.add(name)
    if clashes:
        raise Stop(f"A clash in {name}: settle it, and carry on with the same command.")
    return ours.read_bytes() != before


def inside_git(name: str) -> Path:
    """A place for our own notes that no commit can pick up."""
    found = subprocess.run(
        ["git", "rev-parse", "--git-path", name], cwd=environment.ROOT, capture_output=True, text=True
    )
    return environment.ROOT / found.stdout.strip()


def committed(path: Path) -> bytes:
    name = path.relative_to(environment.ROOT).as_posix()
    shown = subprocess.run(["git", "show", f"HEAD:./{name}"], cwd=environment.ROOT, capture_output=True)
    if shown.returncode:
        raise Stop(f"{name} is not committed yet, so there is nothing to compare your edit with.")
    return shown.stdout


def merge(ours: Path, base: bytes, theirs: Path, numbers: tuple[str, str]) -> int:
    """The number of clashes left in `ours`."""
    old = inside_git("carry-base")
    old.write_bytes(base)
    labels = [f"step {numbers[0]}", f"step {numbers[1]} as committed", f"step {numbers[1]} as edited"]
    command = ["git", "merge-file", *(word for label in labels for word in ("-L", label)), str(ours), str(old)]
    done = subprocess.run([*command, str(theirs)], cwd=environment.ROOT)
    old.unlink()
    if done.returncode < 0 or done.returncode > 127:
        raise Stop(f"git could not merge {ours.name} into step {numbers[0]}.")
    return done.returncode


def test(step: Step, say: Callable[[str], None]) -> None:
    command = [sys.executable, "-m", "pytest", "--quiet", "--no-header", "--step", step.number]
    done = subprocess.run(command, cwd=environment.ROOT, capture_output=True, text=True)
    if done.returncode:
        say(done.stdout)
        raise Stop(f"The tests of step {step.number} fail with the edit in it. Mend it, then carry on.")


class Notes:
    """Which files were merged already, so that a walk that stopped can go on."""

    def __init__(self, start: Step):
        self.path = inside_git("carry-notes.json")
        self.start = start.number
        found = json.loads(self.path.read_text()) if self.path.is_file() else {"start": self.start, "merged": []}
        if found["start"] != self.start:
            raise Stop(f"A carry from step {found['start']} is under way: finish it first, or delete {self.path}.")
        self.merged: list[str] = found["merged"]

    def has(self, name: str) -> bool:
        return name in self.merged

    def add(self, name: str) -> None:
        self.merged.append(name)
        self.path.write_text(json.dumps({"start": self.start, "merged": self.merged}))

    def forget(self) -> None:
        self.path.unlink(missing_ok=True)
