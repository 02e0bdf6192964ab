"""What an exhibit is: a string that people search for, why it appears, and a function that makes it appear."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from exhibits.logs import everything_logged
from tools.environment import ROOT

Happen = Callable[[], str]
EXHIBITS: dict[str, "Exhibit"] = {}
NODE_SDK = "@modelcontextprotocol/sdk"
NODE_SDK_VERSION = "1.32.2"
NODE_FOLDER = Path(os.environ.get("EXHIBITS_NODE") or ROOT / "out" / "exhibits")
INSTALL_NODE_SDK = f"npm install --prefix out/exhibits {NODE_SDK}@{NODE_SDK_VERSION}"
ANYTHING = "…"  # stands for what is different every time


@dataclass(frozen=True)
class Exhibit:
    """One string. `happen` does what goes wrong, and returns what a person sees then."""

    name: str
    group: str
    text: str
    seen: str
    cause: str
    cure: str
    step: str
    needs: str
    slow: bool  # takes more than half a second
    happen: Happen

    def reproduce(self) -> str:
        """What a person sees: what the libraries log, and then what the program says."""
        with everything_logged() as said:
            said.append(self.happen())
        return "\n".join(said)

    def appears_in(self, said: str) -> bool:
        pieces = (re.escape(piece) for piece in self.text.split(ANYTHING))
        return re.search(".*".join(pieces), said) is not None

    def missing(self) -> str:
        """What this computer lacks to show it, as a sentence; empty if nothing."""
        return "" if not self.needs or NEEDS[self.needs]() else f"This needs {self.needs}."


def group(title: str) -> Callable[..., Callable[[Happen], Happen]]:
    """The decorator of one room of the museum."""

    def exhibit(
        name: str, text: str, *, seen: str, cause: str, cure: str, step: str, needs: str = "", slow: bool = False
    ) -> Callable[[Happen], Happen]:
        def enter(happen: Happen) -> Happen:
            assert name not in EXHIBITS, name
            EXHIBITS[name] = Exhibit(name, title, text, seen, cause, cure, step, needs, slow, happen)
            return happen

        return enter

    return exhibit


# ── what a computer may lack ──────────────────────────────────────────────────

CURL = "curl"
CURL_WITH_OPENSSL = "a curl that was built with OpenSSL"
CHROMIUM = "Chromium (apt install chromium)"
TYPESCRIPT = f"Node, and the SDK for it: `{INSTALL_NODE_SDK}`"
LINUX = "Linux, which has these numbers for errors"


def chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def curl_has_openssl() -> bool:
    if not shutil.which("curl"):
        return False
    return "OpenSSL" in subprocess.run(["curl", "--version"], capture_output=True, text=True).stdout


def typescript_sdk() -> bool:
    return bool(shutil.which("node")) and (NODE_FOLDER / "node_modules" / NODE_SDK).is_dir()


NEEDS: dict[str, Callable[[], object]] = {
    CURL: lambda: shutil.which("curl"),
    CURL_WITH_OPENSSL: curl_has_openssl,
    CHROMIUM: chromium,
    TYPESCRIPT: typescript_sdk,
    LINUX: lambda: sys.platform == "linux",
}
