"""What this computer is like, as far as the course minds: each thing in a row, and what to do about it.

Only the standard library is needed here, so that it can still speak when the set-up is what is broken. Every
examination has a thread of its own: one that fails or hangs becomes a row, and the others go on.
"""

from __future__ import annotations  # so that an old Python can read this far, and be told

import importlib
import sys
import threading
import time
from dataclasses import dataclass

OK, MIND, WRONG, CANNOT_TELL = "ok", "mind", "wrong", "cannot tell"
COLOURS = {OK: "green", MIND: "yellow", WRONG: "bold red", CANNOT_TELL: "magenta"}
PATIENCE = 1.6  # seconds for all of them together
EXAMINATIONS = {  # in the order of the rows: a function, and where it stands
    "python": "tools.examinations",
    "installed": "tools.examinations",
    "git": "tools.examinations",
    "make": "tools.examinations",
    "ports": "tools.examinations_network",
    "localhost": "tools.examinations_network",
    "proxies": "tools.examinations_network",
    "clock": "tools.examinations",
    "browser": "tools.examinations",
    "chromium": "tools.examinations",
    "terminal": "tools.examinations",
    "out": "tools.examinations",
    "disk": "tools.examinations",
}


@dataclass(frozen=True)
class Row:
    state: str
    what: str
    found: str
    do: str = ""  # the way out, where there is something to mind


def examine() -> int:
    """Print all rows. 1: something is wrong, and the course does not run before it is mended."""
    rows = all_rows()
    widest = max(len(row.what) for row in rows)
    for row in rows:
        say((f"{row.state:<13}", COLOURS[row.state]), f"{row.what:<{widest}}  {row.found}")
        if row.do:
            say(f"{'':<13}{'':<{widest}}  ", (f"-> {row.do}", "bold"))
    wrong = [row.what for row in rows if row.state == WRONG]
    mind = [row.what for row in rows if row.state in (MIND, CANNOT_TELL)]
    if wrong:
        say((f"\nMend this first: {', '.join(wrong)}.", "bold red"))
    elif mind:
        say((f"\nThe course runs here. Know about: {', '.join(mind)}.", "bold yellow"))
    else:
        say(("\nAll is well.", "bold green"))
    return 1 if wrong else 0


def all_rows() -> list[Row]:
    deadline = time.monotonic() + PATIENCE
    found: dict[str, list[Row]] = {}
    threads = [threading.Thread(target=one, args=(name, found), daemon=True) for name in EXAMINATIONS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    late = "this took too long to find out"
    return [row for name in EXAMINATIONS for row in found.get(name, [Row(CANNOT_TELL, name, late)])]


def one(name: str, found: dict[str, list[Row]]) -> None:
    try:
        found[name] = list(getattr(importlib.import_module(EXAMINATIONS[name]), name)())
    except (Exception, SystemExit) as error:
        words = " ".join(str(error).split())
        found[name] = [Row(CANNOT_TELL, name, f"{type(error).__name__}: {words}" if words else type(error).__name__)]


def say(*parts: str | tuple[str, str]) -> None:
    """With the course's console where it can be had, and plain where it cannot."""
    try:
        from shared import console

        console.line(*parts, indent="")
    except (Exception, SystemExit):
        text = "".join(part if isinstance(part, str) else part[0] for part in parts)
        print(text.encode(sys.stdout.encoding or "ascii", "replace").decode(sys.stdout.encoding or "ascii"))


if __name__ == "__main__":
    sys.exit(examine())
