"""Every README does what it says: its commands run, its edits apply, and what it shows is what comes."""

import re
import subprocess
from pathlib import Path

import pytest

from tests import scratch
from tests.processes import environment, usual_ports, walked
from tools import readme
from tools.catalogue import all_steps
from tools.environment import ROOT

PATHS = [ROOT / "README.md", *(step.path / "README.md" for step in all_steps().values())]
READMES = [pytest.param(path, id=path.parent.name if path.parent != ROOT else "05_at_the_front_door") for path in PATHS]
TESTED_BY_CI = "make test"
PLAIN_WALK = re.compile(r"make step-(\d\d)")
EDITED = "02_authorization_server_metadata"  # one whose first edit is always made


@pytest.mark.parametrize("path", READMES)
def test_what_a_readme_shows_is_what_comes(path: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The walk, and at one step the first edit; with --everything all edits, other lifetimes, and rules taken out."""
    copy = scratch.make(tmp_path)
    found = [command for command in readme.commands(path) if command.words != TESTED_BY_CI]
    assert found, "a README without a command shows nothing"
    for command in wanted(path, found, request.config):
        said = said_by(command, copy)
        lost = readme.missing(command.shown, said)
        assert not lost, f"{path}:{command.line}: not seen:\n" + "\n".join(lost) + "\n\nIt said:\n" + said


def wanted(path: Path, found: list[readme.Command], config: pytest.Config) -> list[readme.Command]:
    if config.getoption("--rest"):
        return [command for command in found if command not in quickly(path, found)]
    return found if config.getoption("--everything") else quickly(path, found)


def quickly(path: Path, found: list[readme.Command]) -> list[readme.Command]:
    """The walks, which other tests have made already, and what takes no time; of one README the first edit too."""
    edited = [command for command in found if command.edits]
    plain = [command for command in found if not re.match(r"make break|[A-Z_]+=", command.words)]
    return [command for command in plain if command not in edited] + edited[: path.parent.name == EDITED]


def said_by(command: readme.Command, copy: scratch.Scratch) -> str:
    """What a command says: one with edits in a copy that has them, any other here."""
    if not command.edits and (plain := PLAIN_WALK.fullmatch(command.words)):
        return walked(plain[1]).out
    for edit in command.edits:
        edit.apply(copy.root)
    done = subprocess.run(
        command.words,
        shell=True,
        cwd=copy.root if command.edits else ROOT,
        env=environment() | {"MAKEFLAGS": "--no-print-directory"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=240,
    )
    copy.undo()
    return usual_ports(done.stdout)


def test_ci_types_what_the_readme_says() -> None:
    assert TESTED_BY_CI in (ROOT / ".ci" / "run").read_text()
    assert TESTED_BY_CI in [command.words for command in readme.commands(ROOT / "README.md")]


@pytest.mark.parametrize("path", READMES)
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8")):
        if not target.startswith(("http", "#")):
            assert (path.parent / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("step_", list(all_steps().values()), ids=lambda step: step.number)
def test_a_step_is_told_in_the_same_order_everywhere(step_: object) -> None:
    text = (step_.path / "README.md").read_text(encoding="utf-8")
    assert step_.thesis in text.splitlines()[2]
    wanted = [
        "You will see",
        "Open these",
        "What it obeys",
        "Other revisions",
        "Break it and see",
        "Not here, on purpose",
        "In the finished programs",
    ]
    assert [row.removeprefix("## ") for row in text.splitlines() if row.startswith("## ")] == wanted


@pytest.mark.parametrize("step_", list(all_steps().values()), ids=lambda step: step.number)
def test_every_name_in_code_letters_that_looks_like_a_function_is_one(step_: object) -> None:
    text = (step_.path / "README.md").read_text(encoding="utf-8")
    table = text.partition("## Open these")[2].partition("## What it obeys")[0]
    sources = "".join(path.read_text(encoding="utf-8") for path in step_.path.glob("*.py"))
    for name in re.findall(r"`([A-Za-z_]+)\(?\)?`", table):
        assert re.search(rf"\b{name}\b", sources), f"{name} is not in step {step_.number}"


# ── the player itself ─────────────────────────────────────────────────────────


def test_an_output_that_differs_is_noticed() -> None:
    assert readme.missing(["a", "…", "c"], "a\nb\nc\n") == []
    assert readme.missing(["a", "c"], "a\nb\nc\n") == ["a", "c"]
    assert readme.missing(["c", "…", "a"], "a\nb\nc\n") == ["a"]
    assert readme.missing(["← 401 Unauthorized"], "← 400 Bad Request\n") == ["← 401 Unauthorized"]


def test_what_differs_from_run_to_run_is_not() -> None:
    assert readme.missing(["code = abc123… (43 characters)"], "code = XYZ-_9… (44 characters)") == []
    assert readme.missing(['"client_id": "VpaxS9gHQYXLlnEwLu17wA"'], '"client_id": "Yume5MyNxNl16mF8KweJsQ"') == []
    assert readme.missing(["http://127.0.0.1:33207/callback"], "http://127.0.0.1:40643/callback") == []
    assert readme.missing(["http://127.0.0.1:33207/callback"], "http://127.0.0.1:40643/elsewhere") != []


def test_an_edit_must_stand_exactly_once(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("a\nb\na\n")
    readme.Edit("f", "b\n", "c\n").apply(tmp_path)
    assert (tmp_path / "f").read_text() == "a\nc\na\n"
    with pytest.raises(ValueError):
        readme.Edit("f", "a\n", "c\n").apply(tmp_path)


def test_edits_are_read_in_order() -> None:
    rows = ["--- f.py", "-old one", "+new one", "-old two", "-goes", "+new two"]
    assert readme.edits_in(rows) == [
        readme.Edit("f.py", "old one\n", "new one\n"),
        readme.Edit("f.py", "old two\ngoes\n", "new two\n"),
    ]
