"""Fill `wheelhouse/`, a folder to install from where there is no network: for this computer, or for a room of laptops.

`requirements.lock` holds for every platform, with markers. They are evaluated for each target, and pip brings the
wheels that fit it. Where that folder is, tools/environment.py installs from it and asks nobody else.
"""

import contextlib
import importlib.util
import itertools
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging import tags
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from shared import console
from shared.stop import Stop
from tools import environment
from tools.environment import LOCK, WHEELHOUSE

OLDEST_GLIBC, GLIBC, MACOS = 5, 28, (12, 0)  # what laptops have that are not older than five years
PIP = Requirement("pip")  # so that a Python without pip can install the others
DOWNLOAD = ["download", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--no-input"]
ARRIVED = re.compile(r"\s*(?:Downloading|Using cached|Processing) (?:.*[/\\])?([^\s/\\]+\.whl)(?: \((.*)\))?$")
NOT_FOUND = re.compile(r"No matching distribution found for (\S+?)(?:==|\s|$)")
NO_NETWORK = ("Retrying (", "ConnectionError", "Temporary failure in name resolution", "getaddrinfo failed")
SYSTEMS = {"linux": "Linux", "win32": "Windows", "darwin": "Darwin"}


@dataclass(frozen=True)
class Platform:
    """A kind of computer, as wheels and as markers call it."""

    name: str
    sys_platform: str
    machine: str

    def wheels(self) -> list[str]:
        if self.sys_platform == "win32":
            return [f"win_{self.machine.lower()}"]
        if self.sys_platform == "darwin":
            return list(tags.mac_platforms(MACOS, self.machine))
        new = [f"manylinux_2_{minor}_{self.machine}" for minor in range(GLIBC, OLDEST_GLIBC - 1, -1)]
        return new + [f"{name}_{self.machine}" for name in ("manylinux2014", "manylinux2010", "manylinux1", "linux")]


PLATFORMS = {
    one.name: one
    for one in (
        Platform("linux", "linux", "x86_64"),
        Platform("linux-arm", "linux", "aarch64"),
        Platform("windows", "win32", "AMD64"),
        Platform("windows-arm", "win32", "ARM64"),
        Platform("mac", "darwin", "arm64"),
        Platform("mac-intel", "darwin", "x86_64"),
    )
}


@dataclass(frozen=True)
class Target:
    """A Python on a kind of computer. Without a platform: this very Python on this very computer."""

    python: str
    platform: Platform | None = None

    def __str__(self) -> str:
        return f"Python {self.python} on {self.platform.name if self.platform else 'this computer'}"

    def accepts(self) -> set[tags.Tag]:
        """Every tag that a wheel may have to be installed there."""
        if self.platform is None:
            return set(tags.sys_tags())
        version, wheels = tuple(map(int, self.python.split("."))), self.platform.wheels()
        interpreter = f"cp{self.python.replace('.', '')}"
        generic = tags.compatible_tags(version, interpreter, wheels)
        return {*tags.cpython_tags(version, platforms=wheels), *generic}

    def environment(self) -> dict[str, str]:
        """What markers see there."""
        if self.platform is None:
            return dict(default_environment())
        system = self.platform.sys_platform
        return dict(default_environment()) | {
            "implementation_name": "cpython",
            "os_name": "nt" if system == "win32" else "posix",
            "platform_machine": self.platform.machine,
            "platform_python_implementation": "CPython",
            "platform_system": SYSTEMS[system],
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": system,
        }

    def for_pip(self) -> list[str]:
        if self.platform is None:
            return []
        platforms = [word for name in self.platform.wheels() for word in ("--platform", name)]
        return [*platforms, "--python-version", self.python, "--implementation", "cp"]


def fill(pythons: list[str] | None = None, platforms: list[str] | None = None) -> int:
    """Bring what is missing, for each Python on each platform. 1: there is something that nobody offers as a wheel."""
    WHEELHOUSE.mkdir(exist_ok=True)
    missing: list[str] = []
    with pip_command() as pip:
        for target in targets(pythons or [], platforms or []):
            missing += [f"{name} for {target}" for name in fill_for(target, pip)]
    wheels = list(WHEELHOUSE.glob("*.whl"))
    size = sum(wheel.stat().st_size for wheel in wheels) / 1_000_000
    console.line(f"\n{WHEELHOUSE.name}/ has {len(wheels)} wheels, {size:.0f} MB.", indent="")
    if missing:
        listed = "; ".join(missing)
        console.line((f"Nobody offers a wheel of {listed}. Such a computer needs a network.", "bold red"), indent="")
        return 1
    console.line(
        "Copy it into the checkout on each computer: the set-up installs from it, and only from it.", indent=""
    )
    return 0


def targets(pythons: list[str], platforms: list[str]) -> list[Target]:
    this_one = ".".join(map(str, sys.version_info[:2]))
    if not pythons and not platforms:
        return [Target(this_one)]
    for version in pythons:
        if not re.fullmatch(r"3\.(1[1-9]|[2-9]\d)", version):
            raise Stop(f"{version!r} is no version of Python that the course runs on: say 3.11 or newer, like 3.12.")
    for name in platforms:
        if name not in PLATFORMS:
            raise Stop(f"Nobody here knows the platform {name!r}. There are: {', '.join(PLATFORMS)}.")
    pairs = itertools.product(platforms or [name_of_this()], pythons or [this_one])
    return [Target(version, PLATFORMS[name]) for name, version in dict.fromkeys(pairs)]


def name_of_this() -> str:
    machine = platform.machine().lower()
    for one in PLATFORMS.values():
        if (one.sys_platform, one.machine.lower()) == (sys.platform, machine):
            return one.name
    known = ", ".join(PLATFORMS)
    raise Stop(f"This computer ({sys.platform}, {machine}) has no name here: say --platform with one of {known}.")


# ── one target ────────────────────────────────────────────────────────────────────────────────────


def fill_for(target: Target, pip: list[str]) -> list[str]:
    """Bring what is missing for this target; the names of those that nobody offers."""
    needed = requirements(target)
    wanted = lacking(needed, target)
    there = len(needed) - len(wanted)
    console.line((f"\nFor {target}: {len(needed)} wheels, {there} of them are here already.", "bold"), indent="")
    while wanted:
        said = download(target, pip, wanted)
        if said is None:
            break
        found = NOT_FOUND.search(said)
        unknown = [one for one in wanted if found and canonicalize_name(one.name) == canonicalize_name(found[1])]
        if not unknown or any(sign in said for sign in NO_NETWORK):
            raise Stop(f"pip could not download for {target}. Is there a network? It said: {last_words(said)}")
        wanted = [one for one in wanted if one not in unknown]
    return [one.name for one in lacking(needed, target)]


def requirements(target: Target) -> list[Requirement]:
    """What the lock says for this target, without markers, and pip."""
    rows = [row for row in LOCK.read_text(encoding="utf-8").splitlines() if row.strip() and not row.startswith("#")]
    known, found = target.environment(), [PIP]
    for wanted in map(Requirement, rows):
        if wanted.marker is None or wanted.marker.evaluate(known):
            found.append(Requirement(f"{wanted.name}{wanted.specifier}"))
    return found


def lacking(needed: list[Requirement], target: Target) -> list[Requirement]:
    accepted, here = target.accepts(), []
    for path in WHEELHOUSE.glob("*.whl"):
        with contextlib.suppress(InvalidWheelFilename):
            name, version, _, its_tags = parse_wheel_filename(path.name)
            if its_tags & accepted:
                here.append((name, version))
    return [
        wanted
        for wanted in needed
        if not any(canonicalize_name(wanted.name) == name and version in wanted.specifier for name, version in here)
    ]


def download(target: Target, pip: list[str], wanted: list[Requirement]) -> str | None:
    """One line per wheel that comes. None, or what pip said if it failed: then it keeps none of them."""
    command = [*pip, *DOWNLOAD, "--progress-bar", "off", "--dest", str(WHEELHOUSE), *target.for_pip()]
    said: list[str] = []
    with subprocess.Popen(
        [*command, *map(str, wanted)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        cwd=environment.ROOT,
    ) as process:
        for row in process.stdout:
            said.append(row)
            if arrived := ARRIVED.match(row):
                name, version, *_ = arrived[1].split("-")
                console.line(f"{name:<28} {version:<12} {arrived[2] or ''}".rstrip())
    return "".join(said) if process.returncode else None


def last_words(said: str) -> str:
    rows = [row.strip() for row in said.splitlines() if row.strip()]
    return next((row for row in reversed(rows) if row.startswith("ERROR")), "".join(rows[-1:]))


@contextlib.contextmanager
def pip_command() -> Iterator[list[str]]:
    """A pip that can download: the one that is here, the one inside Python, one that uv or Debian lends."""
    if importlib.util.find_spec("pip"):
        yield [sys.executable, "-m", "pip"]
    elif bundled := inside_python():
        yield [sys.executable, str(bundled / "pip")]
    elif uv := shutil.which("uv"):
        yield [uv, "tool", "run", "--quiet", "--python", sys.executable, "pip"]
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield [sys.executable, str(environment.pip_of_debian(Path(folder)) / "pip")]


def inside_python() -> Path | None:
    """Python brings the wheel of a pip along to put it into new environments; a wheel can be run as it is."""
    found = importlib.util.find_spec("ensurepip")
    wheels = sorted(Path(found.origin).parent.glob("_bundled/pip-*.whl")) if found else []
    return wheels[-1] if wheels else None
