"""How much the workshop around the steps costs: `python -m tools.benchmark [--pairs 11] [--step 04 05 07]`.

Tracing: the same step with and without it, in pairs, in turns; the median of the ratios of wall time. The page: how
long Chromium takes until one with 200 exchanges stands. The exit code says whether both keep what is promised.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tools.environment import ROOT

AT_MOST = 1.10  # times the wall time without tracing
IN_TIME = 1.0  # seconds for the page
EXCHANGES = 200


def seconds(number: str, traced: bool) -> float:
    environment = os.environ | {"HEADLESS": "1", "TRACE": "1" if traced else "0"}
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "steps", "run", number],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - began


def tracing(numbers: list[str], pairs: int) -> bool:
    kept = True
    for number in numbers:
        seconds(number, True)  # whatever is slow only the first time
        ratios, plain = [], []
        for turn in range(pairs):
            order = (True, False) if turn % 2 else (False, True)
            took = {traced: seconds(number, traced) for traced in order}
            ratios.append(took[True] / took[False])
            plain.append(took[False])
        ratio = statistics.median(ratios)
        kept = kept and ratio <= AT_MOST
        print(
            f"step {number}: {ratio:.3f} times as long with tracing, the median of {pairs} pairs "
            f"({min(ratios):.3f} to {max(ratios):.3f}; without {statistics.median(plain):.2f} s); at most {AT_MOST}"
        )
    return kept


def page(browser: str, times: int = 5) -> bool:
    from playwright.sync_api import sync_playwright

    from tools.trace import page

    trace = json.loads((ROOT / "out" / "step-07" / "trace.json").read_text(encoding="utf-8"))
    once = trace["exchanges"]
    last = max(exchange["at"] + exchange["took"] for exchange in once)
    trace["exchanges"] = [
        once[n % len(once)] | {"id": n + 1, "at": once[n % len(once)]["at"] + n // len(once) * last}
        for n in range(EXCHANGES)
    ]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "trace.html"
        file.write_text(page.render(trace), encoding="utf-8")
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        took = []
        for _ in range(times):
            tab = chromium.new_page()
            began = time.perf_counter()
            tab.goto(file.as_uri(), wait_until="load")
            tab.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))")  # it is painted
            took.append(time.perf_counter() - began)
            tab.close()
        chromium.close()
    print(f"a trace page with {EXCHANGES} exchanges: {statistics.median(took):.2f} s in Chromium, at most {IN_TIME} s")
    return statistics.median(took) <= IN_TIME


def main() -> None:
    parser = argparse.ArgumentParser("python -m tools.benchmark", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=11)
    parser.add_argument("--step", nargs="+", default=["04", "05", "07"])
    parser.add_argument("--browser", default="/usr/bin/chromium")
    asked = parser.parse_args()
    kept = [tracing(asked.step, asked.pairs), page(asked.browser)]
    sys.exit(0 if all(kept) else 1)


if __name__ == "__main__":
    main()
