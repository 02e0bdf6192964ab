"""Make the virtual environment that everything runs in, once, and continue inside it.

Only the standard library is used here: this runs before anything is installed. `requirements.lock` says what is
installed; `uv` does it where it is at hand, `venv` and `pip` do it otherwise. Where there is a `wheelhouse/`, all comes
from that folder and nothing from a network.
"""

from __future__ import annotations  # so that an old Python can read this far, and be told

import hashlib
import importlib.util
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
LOCK = ROOT / "requirements.lock"
WHEELHOUSE = ROOT / "wheelhouse"  # tools/wheelhouse.py fills it
STAMP = VENV / "installed-lock.sha256"


def enter(module: str, arguments: list[str]) -> None:
    """Return when we run inside the environment; otherwise make it if need be, and start again in there."""
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if not STAMP.is_file() or STAMP.read_text() != wanted:
        if VENV.is_symlink():
            sys.exit(f"{VENV.name} leads to another place, and does not have what {LOCK.name} says: remove the link.")
        try:
            set_up()
        except KeyboardInterrupt:
            print("\nStopped. The same command starts over.", file=sys.stderr)
            sys.exit(130)
        STAMP.write_text(wanted)
    if os.path.samefile(sys.prefix, VENV):
        return
    command = [str(PYTHON), "-m", module, *arguments]
    if sys.platform == "win32":
        sys.exit(subprocess.call(command))  # Windows has no exec that keeps the terminal
    sys.stdout.flush()
    os.execv(PYTHON, command)


def set_up() -> None:
    version = ".".join(map(str, sys.version_info[:3]))
    source = f" from {WHEELHOUSE.name}/" if wheels() else ""
    print(f"Setting up .venv with Python {version}{source}. This happens once and takes about a minute.", flush=True)
    if uv := shutil.which("uv"):
        follow([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(VENV)])
        follow([uv, "pip", "install", "--quiet", "--python", str(PYTHON), *only_from_wheelhouse(), "-r", str(LOCK)])
    elif importlib.util.find_spec("ensurepip"):
        follow([sys.executable, "-m", "venv", "--clear", str(VENV)])
        follow([str(PYTHON), "-m", "pip", *pip_install()])
    else:
        with tempfile.TemporaryDirectory() as folder:
            pip = next(iter(wheels("pip")), None) or pip_of_debian(Path(folder))
            follow([sys.executable, "-m", "venv", "--clear", "--without-pip", str(VENV)])
            follow([str(PYTHON), str(pip / "pip"), *pip_install()])
    print("Ready.", flush=True)


def wheels(name: str = "*") -> list[Path]:
    return sorted(WHEELHOUSE.glob(f"{name}-*.whl"))


def only_from_wheelhouse() -> list[str]:
    return ["--no-index", "--find-links", str(WHEELHOUSE)] if wheels() else []


def pip_install() -> list[str]:
    """With a wheelhouse, other places that pip has been told of do not count either."""
    isolated = ["--isolated"] if wheels() else []
    return ["install", *isolated, "--disable-pip-version-check", *only_from_wheelhouse(), "-r", str(LOCK)]


def pip_of_debian(folder: Path) -> Path:
    """Debian leaves pip out of Python. Its package can be fetched and opened without installing it, by anybody."""
    try:
        subprocess.run(["apt-get", "download", "python3-pip-whl"], cwd=folder, check=True, capture_output=True)
        package = next(folder.glob("*.deb"))
        subprocess.run(["dpkg-deb", "--extract", package, folder], check=True, capture_output=True)
        return next(folder.rglob("pip-*.whl"))
    except (OSError, subprocess.CalledProcessError, StopIteration):
        sys.exit("This Python comes without pip. On Debian and Ubuntu: sudo apt install python3-venv")


def follow(command: list[str]) -> None:
    """Run one command of the set-up, showing on one line what it is busy with; end in a sentence if it fails."""
    said: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT) as process:
        for row in process.stdout:
            said.append(row.strip())
            if sys.stdout.isatty() and row.startswith("Collecting "):
                print(f"\r  {row.split()[1]:<60}", end="", flush=True)
    if sys.stdout.isatty():
        print("\r" + " " * 62 + "\r", end="")
    if process.returncode:
        last_words = next((row for row in reversed(said) if row.lower().startswith("error")), "".join(said[-1:]))
        hint = "Is there a network?"
        if wheels():
            hint = (
                f"{WHEELHOUSE.name}/ does not have all that this computer needs: fill it again where there is a "
                "network (make wheelhouse), or delete it."
            )
        sys.exit(f"The set-up failed at `{' '.join(command[:4])} …`. {hint} It said: {last_words}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("Which module? `python3 -m tools.environment MODULE …` runs it in the environment of this checkout.")
    enter(sys.argv[1], sys.argv[2:])
    sys.argv[:2] = [sys.argv[1]]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
