"""Show which promises of a step are kept: one line each, and below a `no` what helps."""

import contextlib
import os
from collections.abc import Iterator

from attacks.world import Remote, World
from checks import everything, workplace  # noqa: F401 - everything fills the list of checks
from checks.core import of
from checks.hint import LAST, hint
from checks.run import Answer, Own, Result, each, without_haste
from shared.addresses import ISSUER, RESOURCE
from shared.console import line, note, title
from shared.running import running
from shared.serving import PortTaken
from shared.stop import Stop
from tools.catalogue import Step, all_steps, mine, step_named
from tools.cli import command, named

COLOURS = {Answer.KEPT: "green", Answer.BROKEN: "red", Answer.LEFT_OUT: "dim"}
DEEP = " " * 11  # where the promises stand
LAST_WORDS = 8  # lines of a traceback


def check(number: str, hint: int = 1, issuer: str | None = None, resource: str | None = None) -> int:
    """Ask for every promise of a step, and of the steps before it: 0 if all that could be asked for are kept.

    The programs are those in work/step-NN, if there are any, else ours; or servers that run, if one is named.
    """
    step = step_named(number)
    title(f"Step {step.number}: {step.thesis}")
    if issuer or resource:
        with foreign(step, issuer or ISSUER, resource or RESOURCE) as world:
            line(f"These servers: {world.issuer} and {world.resource}", indent="")
            return told(step, world, hint, remembered=True)
    place = mine(step) if mine(step).path.is_dir() else step
    line(f"These programs: {named(place.path)}", indent="")
    if place == step:
        line((f"To build it in a folder of your own: {command('start', step.number)}", "dim"), indent="")
    with started(without_haste(place)) as world:
        return told(step, world, hint, remembered=place != step)


@contextlib.contextmanager
def foreign(step: Step, issuer: str, resource: str) -> Iterator[World]:
    """Servers that somebody runs, whatever they are made of. If nobody does, that is said at once."""
    if not resource.endswith("/mcp"):
        raise Stop(f"{resource} is not the address of an MCP server here: it ends in /mcp.")
    with Remote(step.number, issuer, resource) as world:
        world.auth.get("/.well-known/oauth-authorization-server")
        world.mcp.get("/.well-known/oauth-protected-resource/mcp")
        yield world


@contextlib.contextmanager
def started(step: Step) -> Iterator[World]:
    """The servers of a step as processes. If one does not start there is nothing to ask: it says why."""
    logs = step.out.with_name(f"check-{step.number}")
    try:
        with running(step.programs(), logs), Own(step) as world:
            yield world
    except PortTaken:
        raise
    except Stop as why:
        raise Stop(last_words(str(why), step)) from None


def last_words(said: str, step: Step) -> str:
    """What a server said when it stopped, from the place in the student's programs where it broke."""
    sentence, _, trace = said.partition("Traceback (most recent call last):")
    rows = trace.strip("\n").splitlines()
    inside = [number for number, row in enumerate(rows) if step.folder in row]
    if not trace:
        return said
    shown = rows[inside[0] if inside else 0 :][-LAST_WORDS:]
    return "\n".join([f"{sentence.strip()} Repair this, and ask again:", *shown])


# ── telling ───────────────────────────────────────────────────────────────────────────────────────


def told(step: Step, world: World, number: int, remembered: bool) -> int:
    """Every promise as a line, and how many of them are kept. `number` is that of the hint."""
    broken = earlier_broken(step, world)
    results, already = [], set()
    if not any(result.endless for result in broken):
        for result in each(world, of(step.number)):
            results.append(result)
            tell(result, number, already)
    kept = sum(result.answer == Answer.KEPT for result in results)
    left_out = sum(result.answer == Answer.LEFT_OUT for result in results)
    count = len(of(step.number)) - left_out
    if remembered:
        workplace.remember(step, kept, count)
    if kept < len(results) - left_out and number < LAST:
        note(f"A better hint: {with_hint(step, number + 1)}")
    rest = f", {left_out} left out" if left_out else ""
    before = f"; of those of the steps before {len(broken)} are broken" if broken else ""
    line(f"\n{kept} of {count} promises kept{rest}{before}.", indent="")
    return 0 if kept == count and not broken else 1


def earlier_broken(step: Step, world: World) -> list[Result]:
    """The promises of all steps before, in one line; those that are broken are named."""
    before = [number for number in all_steps() if number < step.number]
    if not before:
        return []
    results = each(world, [check for number in before for check in of(number)])
    broken = [result for result in results if result.answer == Answer.BROKEN]
    which = "Step 01" if before == ["01"] else f"Steps 01 to {before[-1]}"
    line(f"{which}: {'broken' if broken else 'still kept'}.", indent="")
    for result in broken:
        line((f"{result.answer}  {result.check.id:<6} {result.check.promise}", "red"), indent="")
        line(result.why, indent=DEEP)
    return broken


def tell(result: Result, number: int, already: set[str]) -> None:
    check = result.check
    line((f"{result.answer}  ", COLOURS[result.answer]), f"{check.id:<6} {check.promise}", indent="")
    if result.answer == Answer.LEFT_OUT:
        line((f"left out: {result.why}", "dim"), indent=DEEP)
    if result.answer == Answer.BROKEN:
        line((result.why, "red"), indent=DEEP)
        section = "which no specification asks for" if check.section == "own" else check.section
        line((f"{check.rule} in {check.file}, {section}", "dim"), indent=DEEP)
        helps = hint(check, number)
        for row in ["(the same code as above)"] if helps in already else helps.splitlines():
            line((row, row_colour(row) if number == LAST else ""), indent=DEEP)
        already.add(helps)


def row_colour(row: str) -> str:
    return {"+": "green", "-": "red", "@": "cyan"}.get(row[:1], "")


def with_hint(step: Step, number: int) -> str:
    by_make = "MAKELEVEL" in os.environ
    return f"{command('check', step.number)} {f'HINT={number}' if by_make else f'--hint {number}'}"
