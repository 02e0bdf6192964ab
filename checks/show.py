"""Show which promises of a step are kept: one line each, and below a `no` what helps."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from attacks.world import Remote, World
from checks import everything, workplace  # noqa: F401 - everything fills the list of checks
from checks.core import CHECKS, of
from checks.hint import LAST, hint
from checks.run import Answer, Own, Result, each, without_haste
from checks.words import without_our_names
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


@dataclass(frozen=True)
class Wish:
    """How much help is wanted (1 to 3), with which promises (all of the step's, if none is named), of whose servers."""

    hint: int = 1
    only: tuple[str, ...] = ()
    issuer: str | None = None
    resource: str | None = None

    def command(self, step: Step, hint: int, only: str = "") -> str:
        """What to type to be helped more. `make` knows nothing of other addresses."""
        options = {"--as": self.issuer, "--mcp": self.resource, "--only": only or ",".join(self.only)}
        if "MAKELEVEL" in os.environ and not self.issuer and not self.resource:
            words = [command("check", step.number), f"HINT={hint}", options["--only"] and f"ONLY={options['--only']}"]
            return " ".join(filter(None, words))
        given = [f"{name} {value}" for name, value in options.items() if value]
        return " ".join([f"python -m steps check {step.number}", *given, f"--hint {hint}"])


def check(
    number: str, hint: int = 1, issuer: str | None = None, resource: str | None = None, only: str | None = None
) -> int:
    """Ask for every promise of a step, and of the steps before it: 0 if all that could be asked for are kept.

    The programs are those in work/step-NN, if there are any, else ours; or servers that run, if one is named.
    With `only`, like `05-3` or `05-3,05-4`, nothing else is asked.
    """
    step = step_named(number)
    wish = Wish(hint, named_in(only or "", step), issuer, resource)
    title(f"Step {step.number}: {step.thesis}")
    if issuer or resource:
        with foreign(step, issuer or ISSUER, resource or RESOURCE) as world:
            line(f"These servers: {world.issuer} and {world.resource}", indent="")
            return told(step, world, wish, remembered=True)
    place = mine(step) if mine(step).path.is_dir() else step
    line(f"These programs: {named(place.path)}", indent="")
    if place == step:
        line((f"To build it in a folder of your own: {command('start', step.number)}", "dim"), indent="")
    with started(without_haste(place)) as world:
        return told(step, world, wish, remembered=place != step)


def named_in(only: str, step: Step) -> tuple[str, ...]:
    """The promises that are meant by `05-3`, `5-3`, or `3`, and by several of them. Earlier steps have some too."""
    known = [check.id for number in all_steps() if number <= step.number for check in of(number)]
    found = []
    for word in only.replace(",", " ").split():
        number, _, place = word.rpartition("-")
        id = f"{(number or step.number).zfill(2)}-{place}"
        if id not in known:
            last = of(step.number)[-1].id
            raise Stop(f"There is no promise {word} in step {step.number}: they are {step.number}-1 to {last}.")
        found.append(id)
    return tuple(dict.fromkeys(found))


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
        with running(step.programs(), logs), Own(step, logs) as world:
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
    shown[-1] = without_our_names(shown[-1])
    return "\n".join([f"{sentence.strip()} Repair this, and ask again:", *shown])


# ── telling ───────────────────────────────────────────────────────────────────────────────────────


def told(step: Step, world: World, wish: Wish, remembered: bool) -> int:
    """Every promise as a line, and how many of them are kept."""
    broken = [] if wish.only else earlier_broken(step, world)
    results, already = [], set()
    if not any(result.endless for result in broken):
        for result in each(world, [CHECKS[id] for id in wish.only] or of(step.number)):
            results.append(result)
            tell(result, wish.hint, already)
    kept = sum(result.answer == Answer.KEPT for result in results)
    left_out = sum(result.answer == Answer.LEFT_OUT for result in results)
    count = len(wish.only or of(step.number)) - left_out
    if remembered and not wish.only:
        workplace.remember(step, kept, count)
    tell_more(step, wish, [result.check.id for result in results if result.answer == Answer.BROKEN])
    rest = f", {left_out} left out" if left_out else ""
    before = f"; of those of the steps before {len(broken)} are broken" if broken else ""
    others = "; the others were not asked" if wish.only else ""
    line(f"\n{kept} of {count} promises kept{rest}{before}{others}.", indent="")
    return 0 if kept == count and not broken else 1


def tell_more(step: Step, wish: Wish, broken: list[str]) -> None:
    """How to be helped more, and with one thing at a time."""
    if broken and wish.hint < LAST:
        note(f"A better hint: {wish.command(step, wish.hint + 1)}")
    if len(broken) > 1:
        note(f"One promise at a time: {wish.command(step, max(wish.hint, 2), only=broken[0])}")


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
        tell_why(result, "")
    return broken


def tell(result: Result, number: int, already: set[str]) -> None:
    check = result.check
    line((f"{result.answer}  ", COLOURS[result.answer]), f"{check.id:<6} {check.promise}", indent="")
    if result.answer == Answer.LEFT_OUT:
        line((f"left out: {result.why}", "dim"), indent=DEEP)
    if result.answer == Answer.BROKEN:
        tell_why(result, "red")
        section = "which no specification asks for" if check.section == "own" else check.section
        line((f"{check.rule} in {check.file}, {section}", "dim"), indent=DEEP)
        helps = hint(check, number)
        for row in ["(the same code as above)"] if helps in already else helps.splitlines():
            line((row, row_colour(row) if number == LAST else ""), indent=DEEP)
        already.add(helps)


def tell_why(result: Result, colour: str) -> None:
    for row in result.why.splitlines():
        line((row, colour), indent=DEEP)


def row_colour(row: str) -> str:
    return {"+": "green", "-": "red", "@": "cyan"}.get(row[:1], "")
