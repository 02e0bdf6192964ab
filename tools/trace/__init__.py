"""What went over the wire during one run: as data, as a page, as a diagram, and for other tools."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shared import tracing
from shared.console import causes, sentence_for
from tools.catalogue import Step
from tools.trace import record

NAME = "trace"


@dataclass
class Traced:
    page: Path | None = None  # known after the run


@contextlib.contextmanager
def of_a_run(step: Step, folder: Path, traced: Traced) -> Iterator[None]:
    """Record what happens in the block, and write the traces however it ends. `TRACE=0` leaves all of it out."""
    outcome = "It was stopped."
    for path in folder.glob(f"{NAME}.*"):
        path.unlink()
    if not tracing.wanted():
        yield
        return
    events = folder / f"{step.walk}{tracing.SUFFIX}"
    events.unlink(missing_ok=True)
    tracing.begin(events, step.walk)
    try:
        yield
        outcome = ""
    except Exception as error:
        outcome = next(filter(None, map(sentence_for, causes(error))), "It ended in an error.")
        raise
    finally:
        traced.page = write(step, folder, outcome)


def write(step: Step, folder: Path, outcome: str) -> Path | None:
    """Make the traces of a run from what its programs wrote down; the path of the page, or None if nobody spoke."""
    from tools.trace import har, mermaid, page

    trace = record.made_of(step, folder, outcome)
    if not trace["exchanges"]:
        return None
    for suffix, text in {
        "json": json.dumps(trace, indent=1, ensure_ascii=False),
        "html": page.render(trace),
        "har": json.dumps(har.har(trace), indent=1, ensure_ascii=False),
        "mmd": mermaid.diagram(trace),
    }.items():
        (folder / f"{NAME}.{suffix}").write_text(text, encoding="utf-8", errors="replace", newline="\n")
    return folder / f"{NAME}.html"
