"""INSTRUCTOR.md tells about the lessons that there are: every hunk is named, in order, and every sum is right."""

import re

import pytest

from tools import cli
from tools.catalogue import Step, all_steps
from tools.environment import ROOT

TEXT = (ROOT / "INSTRUCTOR.md").read_text(encoding="utf-8")
STEPS = list(all_steps().values())
ADDED = re.compile(r"\+\s*(?:async )?(?:def|class) (\w+)|\+([A-Z][A-Z_0-9]*)(?:: .*?)? \|?\+?= ")
FIRST = ["auth_server.py", "mcp_server.py", "bearer.py", "discovery.py", "client.py"]  # step 01 has no diff
by_step = pytest.mark.parametrize("step_", STEPS, ids=lambda step: step.number)
later = pytest.mark.parametrize("step_", STEPS[1:], ids=lambda step: step.number)


def section(step: Step) -> str:
    """What is said about one step, up to the next heading."""
    found = re.search(rf"^### {step.number} · {re.escape(step.title)}\n(.*?)(?=^##)", TEXT, re.S | re.M)
    assert found, f"there is no section on step {step.number}, {step.title}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of every row of every table, without the lines below the heads."""
    lines = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def hunks_told(step: Step) -> dict[str, list[str]]:
    """By file, in the order of the table: the anchors, which are names in that file."""
    table = section(step).split("| file | anchor | say |", 1)[1].split("\n\n", 1)[0]
    told: dict[str, list[str]] = {}
    name = ""
    for file, anchors, *_ in rows(table):
        name = file.strip("`") or name
        told.setdefault(name, []).extend(re.findall(r"`([^`]+)`", anchors))
    return told


def hunks_there(step: Step) -> dict[str, set[str]]:
    """By file, in the order of the lesson: the functions, classes and constants that its hunks add."""
    added: dict[str, set[str]] = {}
    name = ""
    for row in (step.path / "LESSON.diff").read_text(encoding="utf-8").splitlines():
        if row.startswith("+++ "):
            name = row.rpartition("/")[2]
            added[name] = set()
        elif (found := ADDED.match(row)) and not (found[1] or "").startswith("__"):
            added[name].add(found[1] or found[2])
    return added


@by_step
def test_every_file_that_a_lesson_touches_is_told_about_in_the_lessons_order(step_: Step) -> None:
    there = FIRST if step_ is STEPS[0] else list(hunks_there(step_))
    assert set(there) == set(step_.touches)
    assert list(hunks_told(step_)) == there


@later
def test_every_function_class_and_constant_that_a_hunk_adds_is_named_at_its_file(step_: Step) -> None:
    told = hunks_told(step_)
    missing = {file: names - set(told.get(file, [])) for file, names in hunks_there(step_).items()}
    assert not any(missing.values()), "say in INSTRUCTOR.md what they are for"


@by_step
def test_every_anchor_is_in_its_file(step_: Step) -> None:
    """Whatever is renamed or taken away is told about no longer."""
    for file, names in hunks_told(step_).items():
        text = (step_.path / file).read_text(encoding="utf-8")
        assert [name for name in names if name not in text] == [], file


@by_step
def test_every_step_has_what_an_instructor_needs(step_: Step) -> None:
    said = section(step_)
    parts = ["**Take home:**", "**Ask first:**", f"PAUSE=1 make step-{step_.number}", "**Break live**", "**Exercise**"]
    assert [part for part in parts if part not in said] == []
    assert 3 <= len(rows(said.split("| they ask | answer |\n", 1)[1])) <= 6


@by_step
def test_what_a_live_experiment_shows_stands_in_the_readme_or_is_a_rule_taken_out(step_: Step) -> None:
    """The README's own test runs it; `break` names a rule that the step has."""
    live = next(cells[1] for cells in rows(section(step_)) if cells[0] == "**Break live**")
    programs = "".join((step_.path / file).read_text(encoding="utf-8") for file in step_.files)
    readme = (step_.path / "README.md").read_text(encoding="utf-8")
    for rule in re.findall(r"RULE=(\w+)", live):
        assert f"    {rule},\n" in programs, rule
    for sentence in re.findall(r"`([^`]+\.)`", live):
        assert sentence in readme, sentence


@pytest.mark.parametrize(("name", "minutes"), [("half day", 210), ("full day", 420)])
def test_the_minutes_of_a_day_add_up(name: str, minutes: int) -> None:
    table = TEXT.split(f"<!-- {name}: {minutes} -->\n\n", 1)[1].split("\n\n", 1)[0]
    gone, told = 0, []
    for what, _, *numbers, total, until in rows(table)[1:]:
        gone += int(total)
        assert (sum(map(int, numbers)), f"{gone // 60}:{gone % 60:02}") == (int(total), until), what
        told.append(what)
    assert gone == minutes
    assert [what for what in told if what[:2].isdecimal()] == [f"{step.number} {step.title}" for step in STEPS]


def test_every_command_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    made = re.findall(r"(?:`|\$ )(?:[A-Z_]+=\S+ )*make ([a-z]+(?:-\d\d)?)", TEXT)
    targets = re.findall(r"^([a-z]+(?:-%)?):", makefile, re.M)
    assert {re.sub(r"-\d\d$", "-%", word) for word in made} <= set(targets)
    assert set(re.findall(r"python3? -m steps ([a-z][a-z-]*)", TEXT)) <= set(cli.VERBS)


def test_every_link_leads_somewhere() -> None:
    found = re.findall(r"^#+ (.*)", TEXT, re.M)
    headings = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        path, _, anchor = target.partition("#")
        assert (ROOT / path).exists() and (not anchor or path or anchor in headings), target
