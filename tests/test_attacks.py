"""The catalogue: what a step claims to stop is stopped, got in before, and needs each of its rules."""

import functools
import re
from pathlib import Path

import pytest

from attacks import run, show
from attacks.core import CATALOGUE, Outcome, in_order
from attacks.world import InProcess
from tests.processes import here
from tests.processes import run as steps
from tools.environment import ROOT

SPEC_ROWS = """
001 002 004 005 007 008 010 011 013 014 016 017 019 020 022 023 025 026 028 029 031 032 034 035 037 038 040 041 043
044 046 047 049 050 052 053 055 056 058 059 061 062 064 065 067 068 070 071 073 074 076 077 079 080 082 083 085 086
088 089 091 092 095 097 098 100 101 103 104 106 107 109 110 112 113 115 116 118 119 121 122 124 125 127 128 130 131
133 134 136 137 139 140 142 143 145 146 148 149 151 152 154 155 157 158 160 161 163 164 166 167 169 170 172 173 175
176 178 179 181 182 184
""".split()
GOT_IN, OTHERWISE, NO, NOT_HERE = (show.CELLS[outcome] for outcome in Outcome)


def written() -> dict[str, dict[str, str]]:
    """MATRIX.md: how each attack ended, by its id and the step."""
    rows = re.findall(r"^\| (ATK-\d+) \|.*$", show.MATRIX_FILE.read_text(encoding="utf-8"), re.M)
    lines = [line for line in show.MATRIX_FILE.read_text(encoding="utf-8").splitlines() if line.startswith("| ATK-")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")][-len(run.MATRIX) :] for line in lines]
    return {id: dict(zip(run.MATRIX, row)) for id, row in zip(rows, cells)}


@functools.cache
def attacked(number: str) -> list[run.Result]:
    return run.step(number)


@pytest.mark.parametrize(
    "number", [pytest.param(n, marks=[pytest.mark.thorough] if n < "08" else []) for n in run.MATRIX]
)
def test_every_attack_ends_as_the_matrix_says_and_harms_nobody(number: str) -> None:
    found = {result.attack.id: result for result in attacked(number)}
    assert {id: result.broken for id, result in found.items() if result.broken} == {}
    assert [id for id, result in found.items() if not show.keeps_promise(result, number)] == []
    cells = {id: show.CELLS[result.verdict.outcome] for id, result in found.items()}
    assert cells == {id: row[number] for id, row in written().items()}, "stale: make attacks"


def test_every_row_of_the_specification_that_the_steps_answer_is_there() -> None:
    assert {f"ATK-{number}" for number in SPEC_ROWS} == {id for id in CATALOGUE if id < "ATK-200"}


def test_what_is_stopped_stays_stopped() -> None:
    for id, row in written().items():
        cells = [row[number] for number in run.MATRIX]
        first = cells.index(NO) if NO in cells else len(cells)
        assert set(cells[first:]) <= {NO}, (id, cells)


def test_every_attack_that_the_steps_answer_is_refused_at_the_last_and_every_one_by_the_finished_programs() -> None:
    found = written()
    for attack in in_order():
        expected = {NO, NOT_HERE} if attack.stopped_from == "finished" else {NO}
        assert (found[attack.id]["08"] in expected, found[attack.id]["finished"]) == (True, NO), attack.id


@pytest.mark.parametrize(("before", "number"), [("04", "05"), ("05", "06"), ("06", "07")])
def test_a_step_stops_at_least_five_that_got_in_on_the_step_before(before: str, number: str) -> None:
    assert sum(row[before] == GOT_IN and row[number] == NO for row in written().values()) >= 5


@pytest.mark.thorough
@pytest.mark.parametrize(("number", "least"), [("08", 50), ("finished", 80)])
def test_every_rule_is_needed_by_an_attack(number: str, least: int) -> None:
    """The last step has the rules of all steps."""
    needed = dict(run.without_each(number, attacked(number)))
    assert set(needed) == set(run.rules_of(number)) and len(needed) > least
    assert [rule for rule, attacks in needed.items() if not attacks] == []


@pytest.mark.parametrize("number", ["04", "05", "06", "07"])
def test_no_earlier_step_has_a_rule_that_the_last_has_not(number: str) -> None:
    assert set(run.rules_of(number)) <= set(run.rules_of("08"))


# ── the attacker's own instruments ────────────────────────────────────────────────────────────────


def test_without_its_rule_an_attack_gets_in() -> None:
    found = run.without("07", "same_browser", [CATALOGUE["ATK-154"], CATALOGUE["ATK-160"], CATALOGUE["ATK-007"]])
    assert {result.attack.id: str(result.verdict.outcome) for result in found} == {
        "ATK-154": "got in",
        "ATK-160": "got in",
    }


@pytest.mark.parametrize(("rule", "id"), [("public_address", "ATK-210"), ("known_algorithm", "ATK-217")])
def test_so_it_does_at_the_finished_programs(rule: str, id: str) -> None:
    """Whichever way a rule says no: with an exception, with False, or with the sentence that an operator reads."""
    [stopped] = run.step("finished", [CATALOGUE[id]], harmless=False)
    assert run.was_stopped(stopped) and rule in stopped.said_no
    [found] = run.without("finished", rule, [CATALOGUE[id]])
    assert found.verdict.outcome == Outcome.GOT_IN


def test_a_rule_is_taken_out_from_outside_and_only_for_that_once() -> None:
    with InProcess("07") as one, InProcess("07") as other:
        one.loaded.without("made_for_us")
        assert "made_for_us" not in one.loaded.rules()
        assert "made_for_us" in other.loaded.rules()


def test_harm_is_noticed() -> None:
    with InProcess("07", raise_server_exceptions=False) as world:
        token = world.access_token()
        assert list(run.harm(world, [])) == []
        assert list(run.harm(world, [f"a line with {token}"]))[0].startswith("a secret in the log")
        world.loaded.module("clients").REGISTRATION_RULES = (lambda metadata: 1 / 0,)
        world.auth.post("/register", json={})
        assert "POST /register answered 500" in list(run.harm(world, []))


def test_a_step_is_attacked_from_the_command_line() -> None:
    ran = steps("attack", "07", "1", "ATK-154")
    assert (ran.code, ran.err) == (0, "")
    assert "ATK-001  Code replay, everything else valid" in ran.out
    assert "2 refused as specified" in ran.out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["attack", "07", "--without", "nonsense"], "Step 07 has no rule 'nonsense'. It has:\n"),
        (["attack", "07", "999"], "There is no attack ATK-999."),
        (["attack", "99"], "There is no step '99'. There are: 01, 02, 03, 04, 05, 06, 07, 08; and `finished`."),
        (["attack", "03"], "Attacks begin at step 04"),
        (["attack", "01", "--without", "all"], "Attacks begin at step 04"),
    ],
)
def test_a_wrong_name_is_a_sentence(words: list[str], sentence: str, capsys: pytest.CaptureFixture) -> None:
    ran = here(capsys, *words)
    assert (ran.code, ran.err.strip().startswith(sentence)) == (1, True), ran.err


def test_the_readme_shows_the_summary_of_the_matrix() -> None:
    matrix = show.MATRIX_FILE.read_text(encoding="utf-8")
    summary = matrix[matrix.index("| of ") :].strip()
    assert summary in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_attack_stands_in_a_module_that_is_imported() -> None:
    modules = {Path(attack.run.__code__.co_filename).name for attack in in_order()}
    written = {
        path.name for path in (ROOT / "attacks").glob("*.py") if "\n@attack(" in path.read_text(encoding="utf-8")
    }
    assert modules == written
