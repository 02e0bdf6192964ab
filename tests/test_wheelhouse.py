"""A folder to install from: it holds what each computer needs, and the set-up asks no network for anything."""

import ast
import contextlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.stop import Stop
from tests import scratch
from tests.processes import Ran, finished
from tools import environment, wheelhouse
from tools.environment import ROOT
from tools.wheelhouse import PLATFORMS, Target

WITHOUT_NETWORK = ["unshare", "--map-root-user", "--net"]
ONLY_LOOPBACK = """
import fcntl, os, socket, struct, sys
SET_FLAGS, UP_AND_RUNNING = 0x8914, 0x41
fcntl.ioctl(socket.socket(), SET_FLAGS, struct.pack("16sh", b"lo", UP_AND_RUNNING))
os.execv(sys.executable, [sys.executable, "-m", "steps", *sys.argv[1:]])
"""
PACKAGE_INDEX = """
import pathlib, re, sys
words = sys.argv[1:]
folder, offered = pathlib.Path(words[words.index("--dest") + 1]), {offered!r}
tag = {{"3.12": "cp312-cp312"}}.get(words[words.index("--python-version") + 1], "cp313-cp313")
machine = words[words.index("--platform") + 1]
wanted = [re.fullmatch("([a-z0-9-]+)(?:==(.+))?", word) for word in words if "==" in word or word == "pip"]
for name, version in (found.groups("1.0") for found in wanted):
    if name not in offered:
        sys.exit(f"ERROR: No matching distribution found for {{name}}=={{version}}")
for name, version in (found.groups("1.0") for found in wanted):
    file = f"{{name}}-{{version}}-" + (f"{{tag}}-{{machine}}" if offered[name] == "binary" else "py3-none-any") + ".whl"
    print(f"  Downloading https://index.invalid/{{file}} (1 kB)")
    (folder / file).touch()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(wheelhouse, "WHEELHOUSE", tmp_path / "wheelhouse")
    monkeypatch.setattr(wheelhouse, "LOCK", tmp_path / "requirements.lock")
    (tmp_path / "wheelhouse").mkdir()
    return tmp_path / "wheelhouse"


def locked(folder: Path, *rows: str) -> None:
    (folder.parent / "requirements.lock").write_text("\n".join(rows))


def names(python: str, platform: str) -> set[str]:
    return {wanted.name for wanted in wheelhouse.requirements(Target(python, PLATFORMS[platform]))}


# ── what each computer needs ──────────────────────────────────────────────────


def test_the_markers_of_the_lock_are_those_of_the_target_and_not_ours() -> None:
    for platform in PLATFORMS:
        on_windows = {"pywin32", "colorama"} & names("3.13", platform)
        assert on_windows == ({"pywin32", "colorama"} if platform.startswith("windows") else set()), platform
        assert {"pip", "cryptography", "mcp"} <= names("3.11", platform)


def test_the_version_of_a_marker_is_the_one_of_the_target(folder: Path) -> None:
    locked(folder, "a==1 ; python_full_version >= '3.12'", "b==1 ; python_version < '3.12'", "c==1")
    assert names("3.11", "mac") == {"pip", "b", "c"}
    assert names("3.12", "mac") == {"pip", "a", "c"}


@pytest.mark.parametrize(
    ("wheel", "fits"),
    [
        ("a-1.0-py3-none-any.whl", ["linux", "linux-arm", "windows", "windows-arm", "mac", "mac-intel"]),
        ("a-1.0-cp312-cp312-win_amd64.whl", ["windows"]),
        ("a-1.0-cp39-abi3-win_arm64.whl", ["windows-arm"]),
        ("a-1.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", ["linux"]),
        ("a-1.0-cp312-cp312-manylinux_2_28_aarch64.whl", ["linux-arm"]),
        ("a-1.0-cp312-cp312-manylinux_2_39_x86_64.whl", []),
        ("a-1.0-cp312-cp312-musllinux_1_2_x86_64.whl", []),
        ("a-1.0-cp312-cp312-macosx_11_0_arm64.whl", ["mac"]),
        ("a-1.0-cp312-cp312-macosx_10_13_universal2.whl", ["mac", "mac-intel"]),
        ("a-1.0-cp312-cp312-macosx_15_0_arm64.whl", []),
        ("a-1.0-cp313-cp313-win_amd64.whl", []),
        ("a-1.1-py3-none-any.whl", []),
        ("a-1.0-half of a name.whl", []),
    ],
)
def test_a_wheel_counts_where_it_can_be_installed(wheel: str, fits: list[str], folder: Path) -> None:
    locked(folder, "A==1.0")
    (folder / "pip-30-py3-none-any.whl").touch()
    (folder / wheel).touch()
    targets = [Target("3.12", platform) for platform in PLATFORMS.values()]
    found = [str(target) for target in targets if not wheelhouse.lacking(wheelhouse.requirements(target), target)]
    assert found == [f"Python 3.12 on {name}" for name in fits]


def test_this_very_computer_needs_what_is_installed_here() -> None:
    needed = {wanted.name for wanted in wheelhouse.requirements(Target("here"))}
    assert ("pywin32" in needed) == (sys.platform == "win32") and "cryptography" in needed


def test_without_words_it_is_for_this_computer_and_with_them_for_each_pair() -> None:
    assert [target.platform for target in wheelhouse.targets([], [])] == [None]
    pairs = [str(target) for target in wheelhouse.targets(["3.11", "3.13", "3.11"], ["windows", "mac"])]
    assert pairs == [f"Python {python} on {platform}" for platform in ("windows", "mac") for python in ("3.11", "3.13")]


@pytest.mark.parametrize(
    ("pythons", "platforms", "why"),
    [
        (["3.10"], [], "3.11 or newer"),
        (["3"], [], "3.11 or newer"),
        (["3.12; rm"], [], "3.11 or newer"),
        ([], ["solaris"], "There are: linux, linux-arm, windows, windows-arm, mac, mac-intel."),
    ],
)
def test_what_it_does_not_know_is_a_sentence(pythons: list[str], platforms: list[str], why: str) -> None:
    with pytest.raises(Stop, match=why):
        wheelhouse.targets(pythons, platforms)


# ── bringing it ───────────────────────────────────────────────────────────────


def offering(monkeypatch: pytest.MonkeyPatch, folder: Path, code: str) -> None:
    """An index of our own in the place of pip: it writes the files that pip would."""
    program = folder.parent / "index.py"
    program.write_text(code)

    @contextlib.contextmanager
    def command() -> Iterator[list[str]]:
        yield [sys.executable, str(program)]

    monkeypatch.setattr(wheelhouse, "pip_command", command)


def test_each_wheel_that_comes_is_a_line_and_none_comes_twice(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    locked(folder, "pure==2.0", "fast==3.1")
    offering(monkeypatch, folder, PACKAGE_INDEX.format(offered={"pip": "", "pure": "", "fast": "binary"}))
    assert wheelhouse.fill(["3.12", "3.13"], ["windows"]) == 0
    out = capsys.readouterr().out
    first, second = out.split("For Python 3.13 on windows:")
    assert [" ".join(row.split()) for row in first.splitlines() if "kB" in row] == [
        "pip 1.0 1 kB",
        "pure 2.0 1 kB",
        "fast 3.1 1 kB",
    ]
    assert second.count("kB") == 1 and "3 wheels, 2 of them are here already." in second
    assert "index.invalid" not in out
    assert sorted(wheel.name for wheel in folder.iterdir())[0] == "fast-3.1-cp312-cp312-win_amd64.whl"
    assert "wheelhouse/ has 4 wheels, 0 MB." in out


def test_what_nobody_offers_is_named_and_the_others_come(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    locked(folder, "odd==1.0", "pure==2.0", "even==1.0")
    offering(monkeypatch, folder, PACKAGE_INDEX.format(offered={"pip": "", "pure": ""}))
    assert wheelhouse.fill(["3.12"], ["mac"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "Nobody offers a wheel of odd for Python 3.12 on mac; even for Python 3.12 on mac." in said
    assert (folder / "pure-2.0-py3-none-any.whl").exists()


@pytest.mark.parametrize(
    ("words", "last"),
    [
        ("'WARNING: Retrying (Retry(total=4))'", "'ERROR: No matching distribution found for ' + sys.argv[-1]"),
        ("'Looking'", "'ERROR: Could not open requirements'"),
    ],
)
def test_without_a_network_it_is_a_sentence(
    words: str, last: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked(folder, "pure==2.0", "fast==1.0")
    offering(monkeypatch, folder, f"import sys; print({words}); sys.exit({last})")
    with pytest.raises(Stop, match="Is there a network"):
        wheelhouse.fill(["3.12"], ["mac"])


@pytest.mark.thorough
def test_a_pip_is_found_where_python_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that uv made has no pip; Python itself carries one."""
    find = wheelhouse.importlib.util.find_spec
    monkeypatch.setattr(wheelhouse.importlib.util, "find_spec", lambda name: None if name == "pip" else find(name))
    with wheelhouse.pip_command() as pip:
        done = subprocess.run([*pip, "--version"], capture_output=True, text=True)
    assert done.stdout.startswith("pip ") and "_bundled" in done.stdout


# ── installing from it ────────────────────────────────────────────────────────


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A checkout with nothing in it but the set-up, and a lock of one small package that stands in no index."""
    shutil.copytree(ROOT / "tools", tmp_path / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "requirements.lock").write_text("a-small-package==1.0\n")
    (tmp_path / "wheelhouse").mkdir()
    return tmp_path


def put_wheel(folder: Path, version: str = "1.0", says: str = "ours", build: str = "") -> None:
    about = f"a_small_package-{version}.dist-info"
    files = {
        "a_small_package.py": f"origin = {says!r}\n",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: a-small-package\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{about}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{about}/RECORD"])
    with zipfile.ZipFile(folder / f"a_small_package-{version}{build}-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)


def set_up(course: Path, *before: str, **more: str) -> Ran:
    """The set-up with a pip that is told of an index that is not there. uv is hidden: it has a test of its own."""
    path = os.pathsep.join(
        folder for folder in os.environ["PATH"].split(os.pathsep) if not (Path(folder) / "uv").exists()
    )
    code = "from tools import environment; environment.set_up()"
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_RETRIES": "0", "PATH": path}
    return finished([*before, sys.executable, "-c", code], course, 120, **nowhere | more)


@pytest.mark.thorough
def test_the_set_up_installs_from_the_folder_and_asks_nobody_else(course: Path) -> None:
    put_wheel(course / "wheelhouse")
    (course / "elsewhere").mkdir()
    put_wheel(course / "elsewhere", says="not ours", build="-1")  # a later build: pip would prefer it
    ran = set_up(course, PIP_FIND_LINKS=str(course / "elsewhere"))
    assert (ran.code, ran.err) == (0, "")
    assert "from wheelhouse/" in ran.out
    python = course / ".venv" / environment.PYTHON.relative_to(environment.VENV)
    done = subprocess.run([python, "-c", "import a_small_package; print(a_small_package.origin)"], capture_output=True)
    assert done.stdout.strip() == b"ours"


@pytest.mark.thorough
def test_what_the_folder_lacks_is_a_sentence(course: Path) -> None:
    put_wheel(course / "wheelhouse", "0.9")
    ran = set_up(course)
    assert ran.code == 1
    assert "wheelhouse/ does not have all that this computer needs: fill it again" in ran.err
    assert "Traceback" not in ran.err


def test_an_empty_folder_is_as_good_as_none(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "WHEELHOUSE", course / "wheelhouse")
    assert environment.only_from_wheelhouse() == []
    assert "--isolated" not in environment.pip_install()


def test_the_set_up_needs_nothing_that_it_would_have_to_install() -> None:
    tree = ast.parse((ROOT / "tools" / "environment.py").read_text(encoding="utf-8"))
    used = {alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    used |= {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert used <= set(sys.stdlib_module_names)


def may_cut_the_network() -> bool:
    return (
        bool(shutil.which("unshare")) and not subprocess.run([*WITHOUT_NETWORK, "true"], capture_output=True).returncode
    )


@pytest.mark.thorough
@pytest.mark.skipif(not may_cut_the_network(), reason="this system lets nobody cut the network")
def test_a_course_with_its_wheelhouse_runs_where_there_is_no_network(tmp_path: Path) -> None:
    root = scratch.make(tmp_path).root
    (root / ".venv").unlink()
    fill = "from tools import wheelhouse; raise SystemExit(wheelhouse.fill())"
    assert finished([sys.executable, "-c", fill], root, 300).code == 0
    python = [*WITHOUT_NETWORK, sys.executable, "-c", ONLY_LOOPBACK]
    listed = finished([*python, "list"], root, 300)
    assert (listed.code, listed.err) == (0, "")
    assert "from wheelhouse/" in listed.out and "01  protected resource metadata" in listed.out
    walked = finished([*python, "run", "05"], root, 120)
    assert (walked.code, walked.err) == (0, ""), "and what is installed is all that a step needs"
