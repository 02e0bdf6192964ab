"""What the lens cannot see in a token: what the servers that `serve` runs were told, and what time it is for them."""

import contextlib
import json
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx2

from shared.addresses import AS_PORT, seconds_from_environment
from tools.catalogue import Step
from tools.environment import ROOT

USUAL_LEEWAY = 30  # seconds; step 05 cannot be told another
TOLD_SINCE = "06"
SAME = 3  # seconds: the Date of an answer is in whole seconds, and may be one old


@contextlib.contextmanager
def written_down(step: Step) -> Iterator[None]:
    """For the length of the block, the lens knows what the servers of this step were told."""
    told = {"step": step.number, "leeway": leeway_of(step)}
    where = place()
    where.parent.mkdir(parents=True, exist_ok=True)
    where.write_text(json.dumps(told), encoding="utf-8")
    try:
        yield
    finally:
        where.unlink(missing_ok=True)


def leeway_of(step: Step) -> int:
    """Seconds that two clocks may differ, for the MCP server of this step."""
    if step.number < TOLD_SINCE:
        return USUAL_LEEWAY
    return seconds_from_environment("LEEWAY", int(step.environment.get("LEEWAY", USUAL_LEEWAY)), least=0)


def told() -> tuple[str, int] | None:
    """The number of the step that is being served from this folder, and its leeway in seconds; None if none is."""
    try:
        found = json.loads(place().read_text(encoding="utf-8"))
        return str(found["step"]), int(found["leeway"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def place() -> Path:
    return ROOT / "out" / f"served-{AS_PORT}.json"


def ahead_of(answer: httpx2.Response, now: float) -> int:
    """By how many seconds the clock of whoever answered is ahead of `now`: RFC 9110 §6.6.1. Small ones are none."""
    try:
        ahead = round(parsedate_to_datetime(answer.headers.get("date", "")).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return 0
    return ahead if abs(ahead) >= SAME else 0
