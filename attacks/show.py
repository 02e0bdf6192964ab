"""Show how attacks ended: on the terminal, and as a table in MATRIX.md."""

from collections.abc import Iterable
from difflib import get_close_matches

from attacks import run
from attacks.core import CATALOGUE, Attack, Outcome, in_order
from attacks.run import Result
from attacks.world import Remote
from shared.console import drawable, line, note, title
from shared.stop import Stop
from tools.catalogue import attackable
from tools.environment import ROOT

MATRIX_FILE = ROOT / "attacks" / "MATRIX.md"
COLOURS = {Outcome.GOT_IN: "red", Outcome.OTHERWISE: "yellow", Outcome.AS_SPECIFIED: "green", Outcome.NOT_HERE: "dim"}
CELLS = {Outcome.GOT_IN: "**in**", Outcome.OTHERWISE: "other", Outcome.AS_SPECIFIED: "no", Outcome.NOT_HERE: "–"}
HEAD = """# Which attack gets how far

Written by `make attacks`; a test says when it is stale. What each attack does stands in the functions of this folder,
what the answer must be in the section named beside it. AS: authorization server, MCP: the MCP server, C: the client.

| mark | means |
| --- | --- |
| **in** | it got in |
| no | refused, exactly as the specification wants it |
| other | refused in another way, or without the effect that the specification asks for |
| – | what it attacks is not offered at this step, or not promised |

"""


def chosen(ids: Iterable[str]) -> list[Attack]:
    wanted = [f"ATK-{name.upper().removeprefix('ATK-').zfill(3)}" for name in ids]
    if unknown := [name for name in wanted if name not in CATALOGUE]:
        raise Stop(f"There is no attack {', '.join(unknown)}. `attacks/MATRIX.md` lists them all.")
    return [CATALOGUE[name] for name in wanted] or list(in_order())


def step(number: str, ids: list[str]) -> int:
    """All attacks against one step. The exit code tells whether one of them broke what the step promises."""
    check_attackable(number)
    attacks = chosen(ids)
    title(f"Attacks against {attackable(number).called}")
    return told(number, run.step(number, attacks))


def check_attackable(number: str) -> None:
    if number not in run.MATRIX:
        raise Stop(f"Attacks begin at step {run.MATRIX[0]}: before that there is no token to be had.")


def servers(number: str, issuer: str, resource: str, ids: list[str]) -> int:
    """The same over the network, against servers that promise what the step promises."""
    title(f"Attacks against {issuer} and {resource}")
    with Remote(number, issuer, resource) as world:
        return told(number, run.against(world, chosen(ids)))


def told(number: str, results: Iterable[Result]) -> int:
    counts, failures = dict.fromkeys(Outcome, 0), []
    for result in results:
        counts[result.verdict.outcome] += 1
        colour = COLOURS[result.verdict.outcome]
        line((f"{result.attack.id}  ", "bold"), f"{result.attack.name:<58.58} ", (str(result.verdict), colour))
        for broken in result.broken:
            line((f"         {broken}", "red"))
        if result.broken or not keeps_promise(result, number):
            failures.append(result.attack.id)
    line("\n" + ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count), indent="")
    if failures:
        line((f"Against what {attackable(number).called} promises: {', '.join(failures)}", "red"), indent="")
    return 1 if failures else 0


def keeps_promise(result: Result, number: str) -> bool:
    """From the step that the catalogue names on, it is refused as specified; unless we cannot try it from here."""
    if number < result.attack.stopped_from:
        return True
    return result.verdict.outcome in (Outcome.AS_SPECIFIED, Outcome.NOT_HERE)


def without(number: str, rule: str) -> int:
    """The step with one rule taken out of its tuple: who gets in now?"""
    check_attackable(number)
    known = run.rules_of(number)
    if rule not in known:
        raise Stop(f"Step {number} has no rule {rule!r}. {instead(number, rule, known)}")
    title(f"{attackable(number).called} without {rule}, which stands in {known[rule]}")
    found = run.without(number, rule)
    for result in found:
        colour = COLOURS[result.verdict.outcome]
        line((f"{result.attack.id}  ", "bold"), f"{result.attack.name:<58.58} ", (str(result.verdict), colour))
    if not found:
        note("No attack of the catalogue gets any further without it.")
    return 0 if found else 1


def instead(number: str, rule: str, known: dict[str, str]) -> str:
    """What they may have meant: a rule of nearly that name, or one that comes later."""
    if close := get_close_matches(rule, known, 3):
        return f"Did you mean {' or '.join(close)}?"
    if later := next((n for n in run.MATRIX if n > number and rule in run.rules_of(n)), ""):
        return f"It comes with step {later}."
    by_tuple: dict[str, list[str]] = {}
    for name, policy in known.items():
        by_tuple.setdefault(policy, []).append(name)
    return "It has:" + "".join(f"\n  {policy:<24} {', '.join(names)}" for policy, names in by_tuple.items())


def without_each(number: str) -> int:
    """Every rule in turn, and the attacks that need it. A rule that none needs is untested, or not needed."""
    check_attackable(number)
    title(f"{attackable(number).called}: which attack needs which rule")
    needless = []
    for rule, found in run.without_each(number):
        ids = " ".join(result.attack.id.removeprefix("ATK-") for result in found)
        line((f"{rule:<28} ", "bold"), ids or ("no attack needs it", "red"))
        if not found:
            needless.append(rule)
    if needless:
        line((f"\nUntested, or not needed: {', '.join(needless)}", "red"), indent="")
    return 1 if needless else 0


# ── the matrix ────────────────────────────────────────────────────────────────────────────────────


def matrix() -> int:
    """All attacks against all steps; printed, and written to MATRIX.md."""
    found: dict[str, dict[str, Result]] = {attack.id: {} for attack in in_order()}
    code = 0
    for number in run.MATRIX:
        title(f"Attacks against {attackable(number).called} {drawable('…', '...')}")
        results = run.step(number)
        for result in results:
            found[result.attack.id][number] = result
            if result.broken or not keeps_promise(result, number):
                code = 1
                line((f"{result.attack.id}  {result.verdict} {'; '.join(result.broken)}", "red"))
        counts = {outcome: sum(result.verdict.outcome == outcome for result in results) for outcome in Outcome}
        line(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    MATRIX_FILE.write_text(as_table(found), encoding="utf-8", newline="\n")
    note(f"Written: {MATRIX_FILE.relative_to(ROOT).as_posix()}")
    return code


def as_table(found: dict[str, dict[str, Result]]) -> str:
    rows = [
        f"| id | attack | section | who answers | {' | '.join(run.MATRIX)} |",
        "| --- " * (4 + len(run.MATRIX)) + "|",
    ]
    for attack in in_order():
        cells = [CELLS[found[attack.id][number].verdict.outcome] for number in run.MATRIX]
        rows.append(f"| {attack.id} | {attack.name} | {attack.section} | {attack.answers} | {' | '.join(cells)} |")
    return HEAD + "\n".join(rows) + "\n\n" + summary(found)


def summary(found: dict[str, dict[str, Result]]) -> str:
    """How many attacks end in which way, by step."""
    rows = [f"| of {len(found)} attacks | {' | '.join(run.MATRIX)} |", "| --- " * (1 + len(run.MATRIX)) + "|"]
    for outcome in Outcome:
        counts = [sum(row[number].verdict.outcome == outcome for row in found.values()) for number in run.MATRIX]
        rows.append(f"| {outcome} | {' | '.join(map(str, counts))} |")
    return "\n".join(rows) + "\n"
