"""A copy of the course to break things in, with a history of its own and our environment."""

import atexit
import functools
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.processes import Ran, run
from tools.catalogue import all_steps
from tools.environment import ROOT, VENV


@dataclass
class Scratch:
    root: Path

    def steps(self, *words: str, **more: object) -> Ran:
        return run(*words, cwd=self.root, **more)

    def file(self, number: str, name: str) -> Path:
        return self.root / "steps" / all_steps()[number].folder / name

    def edit(self, path: Path, old: str, new: str) -> None:
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {path.name}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def git(self, *words: str) -> str:
        who = ["-c", "user.name=a test", "-c", "user.email=test@example.invalid", "-c", "commit.gpgsign=false"]
        return subprocess.run(
            ["git", *who, *words], cwd=self.root, check=True, capture_output=True, encoding="utf-8"
        ).stdout

    def undo(self) -> None:
        self.git("checkout", "--quiet", ".")


def make(root: Path) -> Scratch:
    shutil.copytree(original(), root, symlinks=True, dirs_exist_ok=True)
    return Scratch(root)


@functools.cache
def original() -> Path:
    """What every scratch copy is a copy of: with its first commit."""
    root = Path(tempfile.mkdtemp(prefix="workshop-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    for name in names.splitlines():
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    (root / ".venv").symlink_to(VENV if VENV.is_dir() else sys.prefix)
    scratch = Scratch(root)
    scratch.git("init", "--quiet")
    scratch.git("add", "--all")
    scratch.git("commit", "--quiet", "--message", "as it is")
    return root
