"""The course's own tools: listing, diffs, and an edit that travels through the steps."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import scratch
from tests.processes import environment, here, run
from tools import lessons
from tools.catalogue import all_steps
from tools.environment import ROOT

MARKERS = ("<<<<<<< ", "=======\n", ">>>>>>> ")
LAST = list(all_steps())[-1]


@pytest.fixture
def copy(tmp_path: Path) -> scratch.Scratch:
    return scratch.make(tmp_path)


def test_the_list_has_every_step_with_its_thesis(capsys: pytest.CaptureFixture) -> None:
    for ran in (run(), here(capsys, "list")):
        assert ran.code == 0
        for step in all_steps().values():
            [row] = [row for row in ran.out.splitlines() if row.startswith(step.number)]
            assert step.title in row and step.thesis in row


def test_a_diff_is_the_lesson_and_has_no_colour_in_a_pipe() -> None:
    step = all_steps()[LAST]
    assert run("diff", LAST).out == (step.path / lessons.FILE_NAME).read_text(encoding="utf-8")


def test_a_reader_who_has_had_enough_is_no_error() -> None:
    words = f'"{sys.executable}" -m steps diff 04 | head -1; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", words], cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_diff_can_be_counted(capsys: pytest.CaptureFixture) -> None:
    out = here(capsys, "diff", "05", "--stat").out
    counts = lessons.counted((all_steps()["05"].path / lessons.FILE_NAME).read_text(encoding="utf-8"))
    for name, (added, removed) in counts.items():
        assert [name, f"+{added}", f"-{removed}"] in [row.split() for row in out.splitlines()]


def test_the_first_step_has_nothing_to_be_compared_with(capsys: pytest.CaptureFixture) -> None:
    ran = here(capsys, "diff", "01")
    assert (ran.code, ran.err.strip()) == (1, "Step 01 is the first: there is nothing to compare it with.")


def test_help_names_every_command(capsys: pytest.CaptureFixture) -> None:
    out = here(capsys, "--help").out
    for word in ("list", "run", "serve", "diff", "carry", "lessons", "test"):
        assert f"  {word} " in out


def test_what_follows_test_goes_to_pytest(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(subprocess, "call", lambda command, **_: started.append(command) or 5)
    assert here(capsys, "test", "--step", "01", "tests/test_mcp.py", "-q").code == 5
    assert started == [[sys.executable, "-m", "pytest", "--step", "01", "tests/test_mcp.py", "-q"]]
    assert here(capsys, "run", "01", "--step", "01").code == 2


# ── carry ─────────────────────────────────────────────────────────────────────


def test_an_edit_of_step_01_arrives_in_every_later_step_and_in_the_lessons(copy: scratch.Scratch) -> None:
    copy.edit(copy.file("01", "mcp_server.py"), '"resource_name": "market mood"', '"resource_name": "mood"')
    copy.edit(copy.file("01", "discovery.py"), "Ask for the tools, without a token", "Knock")
    ran = copy.steps("carry", "01", "--untested")
    assert (ran.code, ran.err) == (0, "")
    for number in list(all_steps())[1:]:
        assert '"resource_name": "mood"' in copy.file(number, "mcp_server.py").read_text(encoding="utf-8")
        assert 'say("Knock"' in copy.file(number, "discovery.py").read_text(encoding="utf-8")
    assert "01 -> 02: mcp_server.py, discovery.py" in ran.out
    assert copy.steps("lessons").out == "", "the lessons are written already"


def test_only_the_edit_travels(copy: scratch.Scratch) -> None:
    copy.edit(copy.file("03", "clients.py"), '"a program without a name"', '"a program"')
    assert copy.steps("carry", "03", "--untested").code == 0
    changed = copy.git("diff", "--numstat", "--", "*.py").split("\n")
    assert sorted(row.split("\t")[:2] for row in changed if row) == [["1", "1"]] * (int(LAST) - 2)


def test_a_clash_stops_names_the_file_and_resumes(copy: scratch.Scratch) -> None:
    opening = copy.file("01", "bearer.py")
    copy.edit(
        opening, "raise no_token()  # nobody can show one yet: no server makes them", "raise no_token()  # not yet"
    )
    clashing = copy.file("04", "bearer.py")

    stopped = copy.steps("carry", "01", "--untested")
    assert stopped.code == 1
    assert stopped.err.strip().startswith(f"A clash in {clashing.relative_to(copy.root).as_posix()}")
    assert all(marker in clashing.read_text(encoding="utf-8") for marker in MARKERS)
    assert "# not yet" in copy.file("03", "bearer.py").read_text(encoding="utf-8")

    again = copy.steps("carry", "01", "--untested")
    assert (again.code, "There are conflict markers" in again.err) == (1, True)

    before, _, rest = clashing.read_text(encoding="utf-8").partition("<<<<<<< step 04\n")
    ours, _, rest = rest.partition("=======\n")
    clashing.write_text(before + ours + rest.partition(">>>>>>> step 03 as edited\n")[2], encoding="utf-8")
    resumed = copy.steps("carry", "01", "--untested")
    assert (resumed.code, resumed.err) == (0, "")
    assert copy.git("diff", "--stat", "--", clashing.as_posix()) == "", "settled in favour of step 04"
    assert copy.steps("lessons").out == ""


@pytest.mark.thorough
def test_a_clash_that_was_given_up_is_forgotten(copy: scratch.Scratch) -> None:
    opening, last = copy.file("01", "bearer.py"), copy.file(LAST, "bearer.py")
    copy.edit(opening, "raise no_token()  # nobody can show one yet: no server makes them", "raise no_token()  # no")
    assert "A clash" in copy.steps("carry", "01", "--untested").err
    copy.undo()
    path = 'METADATA_PATH = "/.well-known/oauth-protected-resource"'
    copy.edit(opening, path, path + "  # a remark")
    ran = copy.steps("carry", "01", "--untested")
    assert (ran.code, ran.err) == (0, "")
    assert "# a remark\n" in last.read_text(encoding="utf-8")


def test_an_edit_can_be_reworded_and_carried_again(copy: scratch.Scratch) -> None:
    first, last = copy.file("02", "auth_server.py"), copy.file(LAST, "auth_server.py")
    copy.edit(first, "about_us = {", "about_us = {  # a small remark")
    assert copy.steps("carry", "02", "--untested").code == 0
    copy.edit(first, "# a small remark", "# a better remark")
    ran = copy.steps("carry", "02", "--untested")
    assert (ran.code, ran.err) == (0, "")
    assert "# a better remark" in last.read_text(encoding="utf-8")
    assert "small" not in last.read_text(encoding="utf-8")


@pytest.mark.thorough
@pytest.mark.parametrize("undo", [f"steps/{all_steps()[LAST].folder}", "."], ids=["one", "all"])
def test_what_was_undone_is_forgotten(undo: str, copy: scratch.Scratch) -> None:
    first, last = copy.file("02", "auth_server.py"), copy.file(LAST, "auth_server.py")
    copy.edit(first, "about_us = {", "about_us = {  # a small remark")
    assert copy.steps("carry", "02", "--untested").code == 0
    copy.git("checkout", "--quiet", undo)
    if undo == ".":
        copy.edit(first, "about_us = {", "about_us = {  # another remark")
    ran = copy.steps("carry", "02", "--untested")
    assert (ran.code, ran.err) == (0, "")
    assert "remark\n" in last.read_text(encoding="utf-8"), ran.out


@pytest.mark.thorough
def test_after_a_commit_the_next_edit_starts_anew(copy: scratch.Scratch) -> None:
    first, last = copy.file("02", "auth_server.py"), copy.file(LAST, "auth_server.py")
    for word in ("one", "two "):
        copy.edit(first, "about_us = {", "about_us = {  # " + word)
        assert copy.steps("carry", "02", "--untested").code == 0
        copy.git("commit", "--quiet", "--all", "--message", word)
    assert "about_us = {  # two   # one\n" in last.read_text(encoding="utf-8")


def test_each_hop_is_tested_and_a_red_test_stops_it(copy: scratch.Scratch) -> None:
    copy.edit(
        copy.file("01", "mcp_server.py"),
        '"bearer_methods_supported": ["header"]',
        '"bearer_methods_supported": ["body"]',
    )
    ran = copy.steps("carry", "01", timeout=240, PYTEST_ADDOPTS="-n0 tests/test_resource_metadata.py")
    assert (ran.code, ran.err.strip()) == (
        1,
        "The tests of step 02 fail with the edit in it. Mend the edit, and carry it again.",
    )
    assert "FAILED tests/" in ran.out


@pytest.mark.thorough
def test_a_mended_edit_goes_on_where_the_red_one_stopped(copy: scratch.Scratch) -> None:
    line = '"bearer_methods_supported": ["header"]'
    copy.edit(copy.file("03", "mcp_server.py"), line, line.replace("header", "body"))
    only = {"PYTEST_ADDOPTS": "-n0 tests/test_resource_metadata.py"}
    for _ in range(2):  # the second time nothing was mended, so it is still red
        assert "The tests of step 04 fail" in copy.steps("carry", "03", timeout=240, **only).err
    copy.edit(copy.file("03", "mcp_server.py"), line.replace("header", "body"), line)
    assert copy.steps("carry", "03", "--untested").code == 0
    assert copy.git("diff", "--stat") == ""


def test_nothing_to_carry_is_said(copy: scratch.Scratch) -> None:
    assert copy.steps("carry", "02").err.strip() == "Step 02 has no uncommitted edit."
    assert copy.steps("carry", LAST).err.strip() == f"Step {LAST} is the last: there is nowhere to carry an edit to."
    (copy.root / ".git").rename(copy.root / "gone")
    ran = copy.steps("carry", "02")
    assert (ran.code, "not a git repository" in ran.err) == (1, True)
