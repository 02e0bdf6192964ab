"""What the doctor looks at on this computer. Each examination yields its rows; what it cannot do it may raise."""

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import time
import webbrowser

from tools import environment
from tools.doctor import MIND, OK, WRONG, Row

OLDEST = (3, 11)
MEGABYTE = 1_000_000  # bytes
NEEDED, COMFORTABLE = 100, 1000  # megabytes
NARROW = 80  # columns
ROOM = 0.1  # seconds by which two clocks may drift apart while we look


def python():
    version, where = ".".join(map(str, sys.version_info[:3])), sys.executable
    if sys.version_info < OLDEST:
        needed = ".".join(map(str, OLDEST))
        way_out = f"Install Python {needed} or newer, delete .venv, and name it: make PYTHON=python{needed}"
        yield Row(WRONG, "Python", f"{version}, {where}", way_out)
    else:
        yield Row(OK, "Python", f"{version}, {where}")


def installed():
    lock = environment.LOCK.read_bytes()
    again = "Delete the folder .venv, and run any command of the course: it is made anew."
    if not environment.PYTHON.exists():
        yield Row(MIND, ".venv", "is not there yet", "Run `python -m steps`: it is made, and nowhere else.")
        return
    stamp = environment.STAMP
    if not stamp.is_file() or stamp.read_text().strip() != hashlib.sha256(lock).hexdigest():
        yield Row(MIND, ".venv", "was made for another requirements.lock", "The next command makes it anew.")
        return
    if not os.path.samefile(sys.prefix, environment.VENV):
        yield Row(OK, ".venv", "made for this requirements.lock")
        return
    different = list(not_as_locked(lock.decode()))
    if different:
        yield Row(WRONG, ".venv", f"differs from requirements.lock: {', '.join(different)}", again)
    else:
        yield Row(OK, ".venv", "has what requirements.lock says")


def not_as_locked(lock: str):
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    here = {canonicalize_name(one.metadata["Name"]): one.version for one in importlib.metadata.distributions()}
    for line in lock.splitlines():
        wanted = Requirement(line) if line.strip() and not line.startswith("#") else None
        if wanted is None or (wanted.marker and not wanted.marker.evaluate()):
            continue
        version = here.get(canonicalize_name(wanted.name))
        if version is None:
            yield f"{wanted.name} is missing"
        elif version not in wanted.specifier:
            yield f"{wanted.name} is {version}"


def git():
    if not shutil.which("git"):
        yield Row(WRONG, "git", "is not there", "Install git: the lessons are differences, and git draws them.")
        return
    said = run_git("--version")
    if not run_git("rev-parse", "HEAD"):
        way_out = "Work in a clone (git clone), not in a downloaded archive: carry and check compare with the commit."
        yield Row(MIND, "git", f"{said}, but this folder has no history that git can read", way_out)
    else:
        yield Row(OK, "git", said)


def run_git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=environment.ROOT, capture_output=True, text=True, timeout=1.5)
    return done.stdout.strip() if done.returncode == 0 else ""


def make():
    if shutil.which("make"):
        yield Row(OK, "make", shutil.which("make"))
    else:
        yield Row(OK if sys.platform == "win32" else MIND, "make", "is not there", "Type `python -m steps run 05`.")


def clock():
    committed = int(run_git("log", "-1", "--format=%ct") or 0) if shutil.which("git") else 0
    behind = committed - time.time()
    before = time.time() - time.monotonic()
    time.sleep(0.2)
    drift = abs(time.time() - time.monotonic() - before)
    now = time.strftime("%Y-%m-%d %H:%M:%S %z")
    if behind > 60:  # seconds
        days = f"{behind / 86_400:.1f} days before the last commit"
        yield Row(WRONG, "clock", f"{now}: {days}", "Set the clock: tokens and codes live by it.")
    elif drift > ROOM:
        way_out = "Let it finish setting the clock (it has just woken up?), and run this again."
        yield Row(MIND, "clock", f"{now}, and it jumped by {drift:.1f} seconds while we looked", way_out)
    else:
        yield Row(OK, "clock", now)


# ── the person's side ─────────────────────────────────────────────────────────────────────────────


def browser():
    visitor = "the small visitor signs in as alice"
    for name in ("HEADLESS", "CI"):
        if os.environ.get(name, "0") not in ("", "0"):
            yield Row(OK, "browser", f"{name} is set: {visitor}")
            return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield Row(OK, "browser", f"no terminal: {visitor}")
        return
    displays = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    if sys.platform not in ("win32", "darwin") and not any(map(os.environ.get, displays)):
        way_out = "To be asked yourself: set BROWSER, or run it where there is a display."
        yield Row(MIND, "browser", f"no display: {visitor}", way_out)
        return
    try:
        found = webbrowser.get()
    except webbrowser.Error:
        yield Row(MIND, "browser", f"none is found: {visitor}", "Install one, or name one: BROWSER=firefox")
        return
    yield Row(OK, "browser", f"{getattr(found, 'name', type(found).__name__)} opens for you to sign in")


def chromium():
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found:
        yield Row(OK, "Chromium", found)
    else:
        yield Row(MIND, "Chromium", "is not there, so the tests of pages are skipped", "apt install chromium")


def terminal():
    encoding, columns = sys.stdout.encoding or "unknown", shutil.get_terminal_size().columns
    found = f"{encoding}, {columns} columns"
    try:
        "→←─…".encode(encoding)
    except (LookupError, UnicodeEncodeError):
        way_out = "It is drawn in ASCII. For all glyphs: PYTHONUTF8=1 (on Windows also: chcp 65001)"
        yield Row(MIND, "console", found, way_out)
        return
    if columns < NARROW:
        yield Row(MIND, "console", found, f"Make it {NARROW} columns wide or more, so that tables keep their shape.")
    else:
        yield Row(OK, "console", found)


def out():
    folder = environment.ROOT / "out"
    try:
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        way_out = "Make it yours, or work in a folder where you may write."
        yield Row(WRONG, "out/", f"cannot be written: {error.strerror}", way_out)
    else:
        yield Row(OK, "out/", "can be written")


def disk():
    free = shutil.disk_usage(environment.ROOT).free // MEGABYTE
    state = WRONG if free < NEEDED else MIND if free < COMFORTABLE else OK
    yield Row(state, "disk", f"{free:,} MB are free", "" if state == OK else "Make room: .venv takes about 250 MB.")
