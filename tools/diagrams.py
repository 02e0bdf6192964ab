"""The sequence diagrams in the READMEs: drawn from real runs, kept in the text, and checked."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from shared.stop import Stop
from tools.catalogue import Step, all_steps, step_named
from tools.environment import ROOT
from tools.trace import NAME, mermaid
from tools.trace.telling import split

DIAGRAM = re.compile(r"(?<=```mermaid\n).*?(?=```\n)", re.S)
FRONT, ITS_SAYS = "05", {1, 2, 3, 4, 5, 6, 7, 8, 11}  # the way of a person, and one token that is refused
ASIDE = "/done"  # true, and not needed to understand the rest


def of_a_step(trace: dict) -> str:
    return mermaid.diagram(trace, only_lesson=True)


def of_the_front_door(trace: dict) -> str:
    """The whole way at a glance."""
    says = [say for say in trace["says"] if say["number"] in ITS_SAYS]
    kept = [exchange for exchange in trace["exchanges"] if exchange["say"] in ITS_SAYS and path_of(exchange) != ASIDE]
    present = {exchange[end] for exchange in kept for end in ("from", "to")}
    parties = [party for party in trace["parties"] if party["id"] in present]
    return mermaid.diagram(trace | {"says": says, "exchanges": kept, "parties": parties, "notes": []})


def path_of(exchange: dict) -> str:
    return split(exchange["request"]["url"]).path


def kept(readme: Path) -> str:
    """The diagram that stands in a README."""
    found = DIAGRAM.search(readme.read_text(encoding="utf-8"))
    if not found:
        raise Stop(f"{readme.relative_to(ROOT).as_posix()} has no place for its diagram, a block of the kind mermaid.")
    return found[0]


def write_all() -> list[Path]:
    """Run every step, and draw what happened; the paths of the READMEs that changed."""
    changed = []
    for step in all_steps().values():
        trace = trace_of_a_run(step)
        changed += write(step.path / "README.md", of_a_step(trace))
        if step == step_named(FRONT):
            changed += write(ROOT / "README.md", of_the_front_door(trace))
    return changed


def write(readme: Path, now: str) -> list[Path]:
    if kept(readme) == now:
        return []
    text = readme.read_text(encoding="utf-8")
    begin, end = DIAGRAM.search(text).span()
    readme.write_text(text[:begin] + now + text[end:], encoding="utf-8", newline="\n")
    return [readme]


def trace_of_a_run(step: Step) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"HEADLESS": "1", "TRACE": "1", "MINE": "0", "OUT": folder}
        subprocess.run(
            [sys.executable, "-m", "steps", "run", step.number],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return json.loads((Path(folder) / f"step-{step.number}" / f"{NAME}.json").read_text(encoding="utf-8"))
