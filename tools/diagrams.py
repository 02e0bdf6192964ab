"""The sequence diagram in each step's README: drawn from a real run, kept in the README, and checked."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from shared.stop import Stop
from tools.catalogue import Step, all_steps
from tools.environment import ROOT
from tools.trace import NAME, mermaid

DIAGRAM = re.compile(r"(?<=```mermaid\n).*?(?=```\n)", re.S)


def drawn(trace: dict) -> str:
    return mermaid.diagram(trace, only_lesson=True).rstrip("\n") + "\n"


def kept(step: Step) -> str:
    """The diagram that stands in the README of a step."""
    found = DIAGRAM.search((step.path / "README.md").read_text(encoding="utf-8"))
    if not found:
        raise Stop(f"The README of step {step.number} has no place for its diagram: a block of the kind `mermaid`.")
    return found[0]


def write_all() -> list[Path]:
    """Run every step, and draw what happened; the paths of the READMEs that changed."""
    changed = []
    for step in all_steps().values():
        now = drawn(trace_of_a_run(step))
        if kept(step) != now:
            path = step.path / "README.md"
            path.write_text(path.read_text(encoding="utf-8").replace(kept(step), now), "utf-8", newline="\n")
            changed.append(path)
    return changed


def trace_of_a_run(step: Step) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"HEADLESS": "1", "TRACE": "1", "OUT": folder}
        subprocess.run(
            [sys.executable, "-m", "steps", "run", step.number],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return json.loads((Path(folder) / f"step-{step.number}" / f"{NAME}.json").read_text(encoding="utf-8"))
