"""How fast and how big the finished programs are: `python -m tools.benchmark_programs [PART]… [--quick]`.

Every number stands beside what it is compared with, measured in turns in the same run: servers on one core, the load
on another. The exit code says whether all bars are kept. On a computer that is busy with other things the ratios
wander; `cpu` is the same ratio in the processor time of the servers, which wanders less.
"""

import sys

from tools import environment

if __name__ == "__main__":
    environment.enter("tools.benchmark_programs", sys.argv[1:])

# from here on everything is installed

import argparse
import dataclasses
import importlib.util
import json
import os
import platform
import signal
from types import FrameType

from rich.console import Console
from rich.table import Table

from shared.stop import Stop
from tools import benchmark_calls, benchmark_client, benchmark_flows, benchmark_scale, benchmark_start, served
from tools.pairs import Row

PARTS = {
    "calls": benchmark_calls.rows,
    "flows": benchmark_flows.rows,
    "start": benchmark_start.rows,
    "scale": benchmark_scale.rows,
    "client": benchmark_client.rows,
}
HEADINGS = ("what", "measured", "against", "ratio (middle half)", "cpu", "bar", "kept")


def main(words: list[str]) -> int:
    asked = arguments(words)
    if asked.fast and not all(map(importlib.util.find_spec, ("uvloop", "httptools"))):
        raise Stop("--fast needs uvloop and httptools, which are not installed here (uvicorn[standard] brings them).")
    for name in ("SIGTERM", "SIGHUP"):  # not everywhere are there both
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), end)
    served.stay_on_our_core()
    parts = {name: PARTS[name] for name in asked.parts or PARTS}
    if asked.where:
        parts["where"] = benchmark_flows.where
    say(circumstances(asked.fast))
    found: list[Row] = []
    with served.Servers(asked.fast) as servers:
        for rows in parts.values():
            found += rows(servers, asked.quick, say)
    show(found, asked)
    return 1 if any(row.kept is False for row in found) else 0


def arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tools.benchmark_programs", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}; all of them by default")
    parser.add_argument("--quick", action="store_true", help="few of everything: to see that it runs, not how fast")
    parser.add_argument("--fast", action="store_true", help="servers on uvloop and httptools")
    parser.add_argument("--where", action="store_true", help="also say where the time of a flow goes")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    asked = parser.parse_args(words)
    if wrong := set(asked.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(wrong))}; there are {', '.join(PARTS)}")
    return asked


def end(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)  # so that the servers end with us


def say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def circumstances(fast: bool) -> str:
    pinned = "servers on core {}, load on core {}".format(*served.CORES) if served.CORES else "nothing pinned to a core"
    busy = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    below = "uvloop and httptools" if fast else "asyncio and h11"
    return f"Python {platform.python_version()}, {os.cpu_count()} cores{busy}: {pinned}; uvicorn on {below}"


# ── the result ────────────────────────────────────────────────────────────────


def show(found: list[Row], asked: argparse.Namespace) -> None:
    if asked.json:
        about = {"circumstances": circumstances(asked.fast), "quick": asked.quick}
        return print(json.dumps(about | {"rows": [dataclasses.asdict(row) for row in found]}, indent=2))
    if not sys.stdout.isatty():
        return print("\n".join(columns([HEADINGS, *map(cells, found)])))
    table = Table(*HEADINGS, title=circumstances(asked.fast))
    for before, row in zip([None, *found], found, strict=False):
        if before and before.part != row.part:
            table.add_section()
        table.add_row(*cells(row))
    Console().print(table)


def columns(table: list[tuple[str, ...]]) -> list[str]:
    """Lines of text, for files and pipes."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(map(str.ljust, cells, widths)).rstrip() for cells in table]


def cells(row: Row) -> tuple[str, ...]:
    spread = f" ({row.low:.2f} to {row.high:.2f})" if row.low is not None else ""
    kept = {None: "", True: "yes", False: "NO"}[row.kept]
    ratio = f"{row.ratio:.3f}{spread}" if row.ratio is not None else spread.strip()
    cpu = f"{row.cpu:.3f}" if row.cpu is not None else ""
    digits = 2 if row.unit in ("s", "ms") else 0
    return row.what, f"{row.value:,.{digits}f} {row.unit}", row.against, ratio, cpu, row.bar, kept


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Stop as stop:
        sys.exit(str(stop))
    except KeyboardInterrupt:
        sys.exit(130)
