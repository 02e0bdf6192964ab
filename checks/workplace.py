"""Where a student builds: work/step-NN, made from the step before; and how far they are."""

import ast
import json
import re
import shutil
from pathlib import Path

from checks import everything  # noqa: F401 - fills the list of checks
from checks.core import of
from shared.console import drawable, line
from shared.stop import Stop
from tools.catalogue import Step, all_steps, before, mine, step_named
from tools.cli import command, named
from tools.environment import ROOT

WORK = ROOT / "work"
REMEMBERED = "progress.json"
BAR = 16  # characters
HEADING = re.compile(r"^# ── .*$", re.M)
THE_APP = "# ── the app ──"
SHORTEST_APP = """
app = Starlette(
    routes=[
        HEALTH,
    ],
)

if __name__ == "__main__":
    serve(app, {url})
"""
WHAT_COUNTS = """
How it is made inside is up to you. What the checks need to find: servers that answer where the lesson's do and ask the
user with the same form, and a client.py whose `main` walks the whole way, asks with httpx2, sends its user through
`waiting_for_redirect` of shared.browser, and raises Stop with a sentence where it must not go on."""
BY_NAME = {  # what the checks of a step, and those that follow, reach for in the programs
    "05": "`signing_key` and `key_id` in tokens.py, and `http` in bearer.py, which asks the issuer for its keys",
    "06": "`Session(server, client, scopes, tokens)` and `call(http, session, tool, **arguments)` in client.py",
    "07": "`TOKEN_FILE`, `keep(issuer, client, tokens)`, `kept(issuer)` and `forget(issuer)` in token_file.py",
    "08": "`main` in machine.py, which asks with httpx2.Client",
}


# ── starting ──────────────────────────────────────────────────────────────────────────────────────


def start(number: str) -> None:
    """Make work/step-NN: the programs of the step before, and of each new file what stands around its code."""
    step = step_named(number)
    place = mine(step).path
    if place.is_dir():
        again = f"`{command('reset', step.number)}` puts it aside and starts over"
        raise Stop(f"{named(place)} is there already: `{command('check', step.number)}` checks it, and {again}.")
    place.mkdir(parents=True)
    older = before(step) if step.number > min(all_steps()) else None
    for name in older.files if older else []:
        shutil.copyfile(older.path / name, place / name)
    new = [name for name in step.files if not (place / name).is_file()]
    for name in new:
        (place / name).write_text(outline((step.path / name).read_text(encoding="utf-8")), encoding="utf-8")
    tell_what_next(step, older, new)


def outline(program: str) -> str:
    """The docstring, the imports from elsewhere and the headings of a program. A server gets an app that is well."""
    body = ast.parse(program).body
    imports = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    own = {row for node in imports if getattr(node, "level", 0) for row in range(node.lineno, node.end_lineno + 1)}
    rows = program.splitlines()[: imports[-1].end_lineno]
    kept = "\n".join(row for number, row in enumerate(rows, 1) if number not in own).strip()
    served = re.search(r"serve\(app, (\w+)\)", program)
    parts = [kept]
    for heading in HEADING.findall(program):
        app = SHORTEST_APP.format(url=served[1]) if served and heading.startswith(THE_APP) else ""
        parts.append(f"{heading}\n{app}".rstrip("\n"))
    return "\n\n".join(parts) + "\n"


def tell_what_next(step: Step, older: Step | None, new: list[str]) -> None:
    begins = f"begins as step {older.number} ends" if older else "begins with servers that are well, and nothing else"
    line(f"{named(mine(step).path)} is there. It {begins}.", indent="")
    if new:
        line(f"New in this step, so far with headings only: {', '.join(new)}", indent="")
    line(f"The lesson touches: {', '.join(step.touches)}", indent="")
    line(f"What it must do: {named(step.path / 'README.md')}", indent="")
    line(WHAT_COUNTS, indent="")
    if step.number in BY_NAME:
        line(f"They also reach for {BY_NAME[step.number]}.", indent="")
    offers = {"check": "which promises it keeps, and hints", "reset": "puts it aside, and starts over"}
    if older:
        offers["diff"] = "the whole lesson, as the last resort"
    line("", indent="")
    for verb, what in offers.items():
        line((f"{command(verb, step.number):<28}", "bold"), what)


def reset(number: str) -> None:
    """Start over. What was there is kept in work/old."""
    step = step_named(number)
    place = mine(step).path
    if place.is_dir():
        old = next(path for count in range(1, 10_000) if not (path := kept_as(step, count)).exists())
        old.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(place, old)
        line(f"What was there is now in {named(old)}.", indent="")
    forget(step)
    start(step.number)


def kept_as(step: Step, count: int) -> Path:
    return WORK / "old" / f"{mine(step).folder}-{count}"


# ── remembering ───────────────────────────────────────────────────────────────────────────────────


def remembered() -> dict[str, dict[str, int]]:
    """By step: how many promises were kept, of how many, when it was last checked."""
    try:
        found = json.loads((WORK / REMEMBERED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    return found if isinstance(found, dict) else {}


def remember(step: Step, kept: int, of: int) -> None:
    write(remembered() | {step.number: {"kept": kept, "of": of}})


def forget(step: Step) -> None:
    write({number: found for number, found in remembered().items() if number != step.number})


def write(found: dict[str, dict[str, int]]) -> None:
    WORK.mkdir(exist_ok=True)
    (WORK / REMEMBERED).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8", newline="\n")


# ── how far ───────────────────────────────────────────────────────────────────────────────────────


def progress() -> None:
    """One line per step, and one sentence on what to do next."""
    found = remembered()
    for step in all_steps().values():
        walked, built = to_its_end(step), mine(step).path.is_dir()
        kept, count = counts(found, step)
        line(
            (f"{step.number}  {step.title:<36}", "bold"),
            f"{'walked' if walked else '':<8}{'started' if built else '':<9}",
            (bar(kept, count or len(of(step.number))), "green" if count and kept == count else ""),
            f"  {kept} of {count} promises kept" if count else "",
            indent="",
        )
    line(f"\n{what_next(found)}", indent="")


def to_its_end(step: Step) -> bool:
    """Whether a walk has left a trace that tells of no trouble."""
    try:
        return json.loads((step.out / "trace.json").read_text(encoding="utf-8"))["outcome"] == ""
    except (OSError, ValueError, KeyError):
        return False


def bar(kept: int, count: int) -> str:
    full, empty = drawable("█", "#"), drawable("░", ".")
    done = BAR * kept // count if count else 0
    return full * done + empty * (BAR - done)


def what_next(found: dict[str, dict[str, int]]) -> str:
    """Whoever builds is led along the steps that they build; whoever walks, to the next step."""
    steps = list(all_steps().values())
    for step in steps:
        kept, count = counts(found, step)
        check = command("check", step.number)
        if kept < count:
            return f"Go on with step {step.number}, {count - kept} of whose promises are left: {check}"
        if not count and mine(step).path.is_dir():
            return f"Build step {step.number} in {named(mine(step).path)}, and see how far it is: {check}"
    for step in steps:
        if not to_its_end(step):
            return f"Next, watch step {step.number}: {command('run', step.number)}"
    for step in steps:
        if step.number not in found:
            return f"You have seen all steps. Build step {step.number} yourself: {command('start', step.number)}"
    return "You have seen all steps, and your own keep all their promises."


def counts(found: dict[str, dict[str, int]], step: Step) -> tuple[int, int]:
    """How many promises were kept, of how many; none of none if it was never checked."""
    about = found.get(step.number, {})
    return about.get("kept", 0), about.get("of", 0)
