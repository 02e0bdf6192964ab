"""What the finished programs promise about themselves: small modules, no ties to the steps or to each other."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_promises import imported, source
from tools.catalogue import PROGRAMS
from tools.environment import ROOT

LINES_PER_MODULE, LINES_PER_FUNCTION = 270, 40
MODULES = [path for name in PROGRAMS for path in sorted((ROOT / name).rglob("*.py"))]
by_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
ALLOWED = {
    "auth_server": {"anyio", "argon2", "click", "cryptography", "httpcore2", "httpx2", "jinja2", "jwt"}
    | {"prometheus_client", "shared", "sqlalchemy", "starlette"},
    "mcp_server": {"anyio", "click", "cryptography", "httpx2", "jwt", "mcp"}
    | {"prometheus_client", "pydantic_core", "shared", "starlette"},
    "client": {"anyio", "click", "filelock", "httpx2", "jwt", "keyring", "mcp", "pydantic", "shared", "starlette"}
    | {"uvicorn"},
}


@by_module
def test_a_program_stands_alone(path: Path) -> None:
    """It imports the standard library, the dependencies and `shared`: no step, and no other program."""
    program = path.relative_to(ROOT).parts[0]
    used = {name.split(".")[0] for name in imported(ast.parse(source(path)))}
    assert used <= ALLOWED[program] | set(sys.stdlib_module_names)


@by_module
def test_modules_and_functions_are_short(path: Path) -> None:
    text = source(path)
    assert len(text.splitlines()) <= LINES_PER_MODULE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno - node.lineno < LINES_PER_FUNCTION, node.name


@by_module
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(source(path)))


@pytest.mark.parametrize(("module", "unwanted"), [("auth_server.app", "mcp"), ("auth_server.app", "pydantic")])
def test_starting_takes_only_what_is_needed(module: str, unwanted: str) -> None:
    code = f"import {module}, sys; sys.exit({unwanted!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
