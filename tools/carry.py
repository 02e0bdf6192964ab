"""Bring an uncommitted edit of one step into every later step.

Hop by hop: what step 02 had when it was committed is the base, what it has now is the change, and `git merge-file`
puts that change into step 03; then from 03 into 04, and so on. A clash stops the walk with the file named and the
usual conflict markers in it. Settle it, give the same command again, and the walk goes on where it stopped.

What was carried already is remembered until the next commit, so that an edit can be reworded and carried again.
"""

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from shared.stop import Stop
from tools import environment, lessons
from tools.catalogue import Step, after

CLASH_MARKER = b"<<<<<<< "


def carry(start: Step, say: Callable[[str], None], tested: bool = True) -> None:
    if not after(start):
        raise Stop(f"Step {start.number} is the last: there is nowhere to carry an edit to.")
    memory = Memory()
    if not any(edited(start.path / role) for role in start.files) and not memory.carried:
        raise Stop(f"Step {start.number} has no uncommitted edit.")
    source = start
    for target in after(start):
        for role in source.files:
            hop(source, target, role, memory)
        changed = [role for role in source.files if edited(target.path / role)]
        say(f"{source.number} -> {target.number}: {', '.join(changed) or 'nothing to do'}")
        if changed and tested:
            test(target, say)
        source = target
    for path in lessons.write_all():
        say(f"wrote {path.relative_to(environment.ROOT).as_posix()}")


def hop(source: Step, target: Step, role: str, memory: "Memory") -> None:
    """Merge one file into the next step, if it has an edit that is not there yet."""
    theirs, ours = source.path / role, target.path / role
    if CLASH_MARKER in ours.read_bytes():
        raise Stop(f"There are conflict markers in {named(ours)}. Settle them, and carry on with the same command.")
    base = memory.base(theirs, ours)
    if base == theirs.read_bytes():
        return
    clashes = merge(ours, base, theirs, (target.number, source.number))
    memory.remember(theirs, ours, clashed=clashes > 0)
    if clashes:
        raise Stop(f"A clash in {named(ours)}: settle it, and carry on with the same command.")


def merge(ours: Path, base: bytes, theirs: Path, numbers: tuple[str, str]) -> int:
    """The number of clashes left in `ours`."""
    old = inside_git("carry-base")
    old.write_bytes(base)
    labels = [f"step {numbers[0]}", f"step {numbers[1]} before", f"step {numbers[1]} as edited"]
    command = ["git", "merge-file", *(word for label in labels for word in ("-L", label)), str(ours), str(old)]
    done = subprocess.run([*command, str(theirs)], cwd=environment.ROOT)
    old.unlink()
    if done.returncode < 0 or done.returncode > 127:
        raise Stop(f"git could not merge into {named(ours)}.")
    return done.returncode


def test(step: Step, say: Callable[[str], None]) -> None:
    say(f"testing step {step.number}")
    command = [sys.executable, "-m", "pytest", "--quiet", "--no-header", "--exitfirst", "--step", step.number]
    done = subprocess.run(command, cwd=environment.ROOT, capture_output=True, text=True)
    if done.returncode:
        say(done.stdout)
        raise Stop(f"The tests of step {step.number} fail with the edit in it. Mend the edit, and carry it again.")


class Memory:
    """The text of each file when it was last carried, for as long as no commit has made that the past."""

    def __init__(self) -> None:
        self.path = inside_git("carry-memory.json")
        self.head = git("rev-parse", "HEAD").strip().decode()
        found = json.loads(self.path.read_text(encoding="utf-8")) if self.path.is_file() else {}
        self.carried: dict[str, dict] = found["carried"] if found.get("head") == self.head else {}

    def base(self, theirs: Path, ours: Path) -> bytes:
        """What the next step has of this file already: what was carried last, or else what was committed."""
        last = self.carried.get(named(theirs))
        if not last:
            return committed(theirs)
        reworded = last["text"] != theirs.read_text(encoding="utf-8")
        undone = not edited(ours) and (reworded if last["clashed"] else last["changed"])
        return committed(theirs) if undone else last["text"].encode()

    def remember(self, theirs: Path, ours: Path, clashed: bool) -> None:
        text = theirs.read_text(encoding="utf-8")
        self.carried[named(theirs)] = {"text": text, "changed": edited(ours), "clashed": clashed}
        self.path.write_text(json.dumps({"head": self.head, "carried": self.carried}), encoding="utf-8")


def edited(path: Path) -> bool:
    return path.read_bytes() != committed(path)


@functools.cache
def committed(path: Path) -> bytes:
    return git("show", f"HEAD:./{named(path)}")


def inside_git(name: str) -> Path:
    """A place for notes that no commit can pick up."""
    return environment.ROOT / git("rev-parse", "--git-path", name).decode().strip()


def git(*words: str) -> bytes:
    done = subprocess.run(["git", *words], cwd=environment.ROOT, capture_output=True)
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise Stop(f"An edit is what differs from the last commit, and git cannot tell: {''.join(why)}")
    return done.stdout


def named(path: Path) -> str:
    return path.relative_to(environment.ROOT).as_posix()
