"""What went over the wire during one run: as data, as a page, as a diagram, and for other tools."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shared import tracing
from shared.console import causes, note, sentence_for
from shared.shortening import shortened_url
from tools.catalogue import Step
from tools.trace import record

NAME = "trace"


@dataclass
class Traced:
    page: Path | None = None  # known after the run


@contextlib.contextmanager
def of_a_run(step: Step, folder: Path, traced: Traced) -> Iterator[None]:
    """Record what happens in the block, and write the traces however it ends. `TRACE=0` leaves all of it out."""
    for path in [*folder.glob(f"{NAME}.*"), *folder.glob(f"*{tracing.SUFFIX}")]:
        path.unlink()
    if not tracing.wanted():
        yield
        return
    outcome = "It was stopped."
    tracing.begin(folder / f"{step.walk}{tracing.SUFFIX}", step.walk)
    try:
        yield
        outcome = ""
    except Exception as error:
        outcome = next(filter(None, map(sentence_for, causes(error))), "It ended in an error.")
        raise
    finally:
        tracing.end()
        try:
            traced.page = write(step, folder, shortened_url(outcome))
        except Exception as error:  # whatever is odd in what was recorded: the run itself is not to blame
            note(f"There is no trace of this run: {error!r}")


def write(step: Step, folder: Path, outcome: str) -> Path | None:
    """Make the traces of a run from what its programs wrote down; the path of the page, or None if nobody spoke."""
    from tools.trace import har, mermaid, page

    trace = record.made_of(step, folder, outcome)
    if not trace["exchanges"]:
        return None
    for suffix, text in {
        "json": as_json(trace),
        "html": page.render(trace),
        "har": as_json(har.har(trace)),
        "mmd": mermaid.diagram(trace),
    }.items():
        (folder / f"{NAME}.{suffix}").write_text(text, encoding="utf-8", errors="replace", newline="\n")
    return folder / f"{NAME}.html"


def as_json(value: dict) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
