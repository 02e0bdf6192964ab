"""What the course promises about itself: small files, the same order everywhere, diffs that are the lesson."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import lessons
from tools.catalogue import all_steps
from tools.environment import ROOT

ON_A_SERVER = ["what we remember", "how we say no", "rules", "endpoints", "tokens", "the app"]
ON_A_CLIENT = ["what we remember", "rules", "requests", "what must not work", "the walk"]
CLIENTS = ("discovery.py", "client.py", "token_file.py", "attacker.py", "machine.py")
LINES_PER_FILE, LINES_PER_FUNCTION, COLUMNS = 360, 40, 116
WITH_OUR_TOOLS = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
FILES = [(step, role) for step in all_steps().values() for role in step.files]
by_name = pytest.mark.parametrize(("step_", "role"), FILES, ids=lambda value: getattr(value, "number", value))
later = pytest.mark.parametrize("step_", list(all_steps().values())[1:], ids=lambda step: step.number)


def source(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def imported(tree: ast.AST) -> set[str]:
    """What is imported, but for the file's own neighbours: `from .tokens import …` comes from the same step."""
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert all(node.level <= 1 for node in found), "no further away than its own folder"
    return names | {node.module or "" for node in found if not node.level}


@by_name
def test_a_step_stands_alone(step_: object, role: str) -> None:
    """It imports the standard library, the dependencies and `shared`: no other step, no finished program."""
    allowed = {"anyio", "cryptography", "httpx2", "jwt", "mcp", "shared", "starlette"} | set(sys.stdlib_module_names)
    used = {name.split(".")[0] for name in imported(ast.parse(source(step_.path / role)))}
    assert used <= allowed, used - allowed


def test_every_program_of_a_step_can_be_imported() -> None:
    modules = [step.module(role.removesuffix(".py")) for step in all_steps().values() for role in step.files]
    code = f"import importlib; [importlib.import_module(name) for name in {modules}]"
    secrets = {name: "a secret" for step in all_steps().values() for name in step.secrets}
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ | secrets).returncode == 0


@by_name
def test_files_functions_and_lines_are_short(step_: object, role: str) -> None:
    text = source(step_.path / role)
    assert len(text.splitlines()) <= LINES_PER_FILE
    assert max(map(len, text.splitlines())) <= COLUMNS
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno - node.lineno < LINES_PER_FUNCTION, node.name


@by_name
def test_sections_come_in_the_same_order_everywhere(step_: object, role: str) -> None:
    found = re.findall(r"^# ── (.*?) ─+$", source(step_.path / role), re.M)
    assert found == [name for name in (ON_A_CLIENT if role in CLIENTS else ON_A_SERVER) if name in found]
    assert found, "no section at all"


@by_name
def test_the_first_line_is_the_thesis_of_the_step_that_last_changed_the_file(step_: object, role: str) -> None:
    steps = [other for other in all_steps().values() if other.number <= step_.number and role in other.touches]
    assert source(step_.path / role).startswith(f'"""Step {steps[-1].number} · {steps[-1].thesis}.\n')


@by_name
def test_no_step_number_version_or_year_inside_the_code(step_: object, role: str) -> None:
    without_thesis = source(step_.path / role).partition("\n")[2]
    assert not re.search(r"\bstep[ -_]?0?\d\b|\b20(2[4-9])\b(?!-07-28)", without_thesis, re.I)


@by_name
def test_every_section_of_a_specification_is_named_in_full(step_: object, role: str) -> None:
    for named in re.findall(r"(?:RFC|OAuth|OpenID)[^\n\"]*", source(step_.path / role)):
        if "RFC" in named:
            assert re.search(r"RFC \d{4} §\d+(\.\d+)*", named), named


@pytest.mark.parametrize("path", sorted((ROOT / "shared").glob("*.py")), ids=lambda path: path.name)
def test_shared_is_plumbing(path: Path) -> None:
    """No line that could carry an RFC number: nothing verifies, signs, hashes, compares, or says `Authorization`."""
    text = source(path)
    assert not re.search(r"\bRFC\b|OAuth 2\.1|§", text)
    assert not imported(ast.parse(text)) & {"jwt", "hmac", "hashlib", "secrets", "cryptography"}
    words = ("Authorization", "WWW-Authenticate", "code_challenge", "/.well-known", "/authorize", "/token", "iss=")
    assert not [word for word in words if word in text]


def test_shared_knows_no_step() -> None:
    for path in (ROOT / "shared").glob("*.py"):
        assert not {name for name in imported(ast.parse(source(path))) if name.split(".")[0] in ("steps", "tools")}


@by_name
def test_the_line_the_lesson_exists_for_is_not_hidden(step_: object, role: str) -> None:
    """Who sets `Authorization`, compares a secret or signs does it in the step itself."""
    text = source(step_.path / role)
    if role == "client.py" and step_.number >= "04":
        assert '{"Authorization": f"Bearer {access_token}"}' in text
    if role == "auth_server.py" and step_.number >= "04":
        assert "hmac.compare_digest" in text
    if role == "tokens.py":
        assert "hmac.compare_digest" in text and "jwt.encode" in text


# ── the lessons ───────────────────────────────────────────────────────────────


@later
def test_the_lesson_is_the_real_difference(step_: object) -> None:
    kept = source(step_.path / lessons.FILE_NAME)
    assert kept == lessons.lesson(step_), "stale: python -m steps lessons"


@later
def test_a_step_touches_only_what_it_names_and_keeps_its_budget(step_: object) -> None:
    counts = lessons.counted(lessons.lesson(step_))
    assert sorted(counts) == sorted(step_.touches)
    assert sum(added for added, _ in counts.values()) <= step_.budget["added"]
    assert sum(removed for _, removed in counts.values()) <= step_.budget["removed"]


@later
def test_a_step_changes_no_import_but_by_adding(step_: object) -> None:
    """What nobody needs any more may go; nothing is moved or written in another way."""
    rows = lessons.lesson(step_).splitlines()
    for row in rows:
        if row.startswith("-import "):
            assert f"+{row[1:]}" not in rows, row


# ── the house ─────────────────────────────────────────────────────────────────


def tracked() -> list[Path]:
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    return [ROOT / name for name in names.splitlines()]


def test_no_file_names_a_package_index_or_somebodys_machine() -> None:
    hosts = "|".join(
        ["py" + r"pi\.org", "python" + r"hosted", "npm" + r"js\.", "deb\\." + "debian", "/ro" + "ot/", "/ho" + "me/"]
    )
    for path in tracked():
        if path.suffix not in (".png", ".ico"):
            assert not re.search(hosts, path.read_text(encoding="utf-8")), path


def test_the_code_is_in_one_style() -> None:
    for words in (["check"], ["format", "--check"]):
        done = subprocess.run(["ruff", *words, "."], cwd=ROOT, capture_output=True, text=True, env=WITH_OUR_TOOLS)
        assert done.returncode == 0, done.stdout


def test_the_lock_fits_the_manifest() -> None:
    import tomllib

    manifest = tomllib.loads(source(ROOT / "pyproject.toml"))
    wanted = manifest["project"]["dependencies"] + manifest["dependency-groups"]["test"]
    locked = {row.split("==")[0] for row in source(ROOT / "requirements.lock").splitlines()}
    assert {re.match(r"[\w-]+", name)[0] for name in wanted} <= locked
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+( ; .*)?", row) for row in source(ROOT / "requirements.lock").splitlines())
