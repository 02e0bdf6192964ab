"""What the tests share: a step in process, fresh for every test, and a browser that is a real one."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright
from xdist.scheduler import LoadScopeScheduling

import shared.browser
from attacks.loaded import Loaded
from tests.world import FinishedWorld, World
from tools.catalogue import FINISHED, all_steps

STEPS = tuple(all_steps())


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--step", help="only the tests of one step, on its own code: --step 04")
    everything = "what holds for several steps is tested in each of them; every experiment, every rule"
    parser.addoption("--everything", action="store_true", help=everything)
    parser.addoption("--rest", action="store_true", help="what --everything runs and a run without it does not")


def pytest_configure(config: pytest.Config) -> None:
    config.option.everything |= config.option.rest
    config.addinivalue_line("markers", "steps(*numbers): the steps for which this test must hold")
    config.addinivalue_line("markers", "since(first): it must hold for this step and all later ones")
    config.addinivalue_line("markers", "thorough: only with --everything")
    config.addinivalue_line("markers", "wire: it must hold for the finished programs too")
    config.addinivalue_line("markers", "of_steps(why): unlike the rest of its module it is about the steps alone")
    os.environ["HEADLESS"] = "1"
    shared.browser.A_MOMENT = 0  # no person waits for the page


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `world` or `step` holds for the steps that its module or itself names.

    It runs for the last of them, unless `--step` names another or `--everything` asks for all.
    """
    if not {"world", "step"} & set(metafunc.fixturenames):
        return
    numbers, config = numbers_of(metafunc.definition), metafunc.config
    only = config.getoption("--step")
    newest = numbers[-2:] if FINISHED.number in numbers else numbers[-1:]
    chosen = tuple(n for n in numbers if n == only) if only else newest
    if config.getoption("--everything"):
        chosen = numbers
    if config.getoption("--rest") and not metafunc.definition.get_closest_marker("thorough"):
        chosen = tuple(n for n in numbers if n not in newest or n == FINISHED.number)
    metafunc.parametrize("step", chosen, ids=lambda n: f"step{n}".replace("stepf", "f"), scope="function")


def numbers_of(test: pytest.Item) -> tuple[str, ...]:
    """Of steps, and at their end of the finished programs where they must do the same."""
    marker = next((mark for mark in test.iter_markers() if mark.name in ("steps", "since")), None)
    alone = not test.get_closest_marker("wire") or test.get_closest_marker("of_steps")
    also = () if alone else (FINISHED.number,)
    if marker is None:
        return STEPS + also
    if marker.name == "since":
        return STEPS[STEPS.index(marker.args[0]) :] + also
    return marker.args + (also if marker.args[-1] == STEPS[-1] else ())


SLOW = (
    "test_checks",
    "test_attacks",
    "test_readmes",
    "test_walks",
    "test_tools",
    "test_when_things_go_wrong",
    "test_browser",
)
FEW = 3  # parameter sets of one test, spread over all of them
BY_STEP = {"test_attacks": "attacks", "test_readmes": "walks", "test_walks": "walks", "test_trace": "walks"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The slow ones first."""
    if only := config.getoption("--step"):
        items[:] = [item for item in items if hasattr(item, "callspec") and item.callspec.params.get("step") == only]
        return
    for item in more_of_the_same(items):
        item.add_marker(pytest.mark.thorough)
    if not config.getoption("--everything"):
        items[:] = [item for item in items if not item.get_closest_marker("thorough")]
    if config.getoption("--rest"):
        items[:] = [item for item in items if belongs_to_the_rest(item)]
    items.sort(key=lambda item: SLOW.index(item.path.stem) if item.path.stem in SLOW else len(SLOW))


def more_of_the_same(items: list[pytest.Item]) -> Iterator[pytest.Item]:
    """Of a test with many parameters, what the finished programs do not do in every run: step 08 does all of it."""
    by_test: dict[str, list[pytest.Item]] = {}
    for item in filter(of_the_finished, items):
        by_test.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for same in by_test.values():
        spread = {number * (len(same) - 1) // (FEW - 1) for number in range(FEW)}
        yield from (item for number, item in enumerate(same) if number not in spread)


def of_the_finished(item: pytest.Item) -> bool:
    return hasattr(item, "callspec") and item.callspec.params.get("step") == FINISHED.number


def belongs_to_the_rest(item: pytest.Item) -> bool:
    """Who asks for a step has been chosen by it already; of a README the same test does more."""
    if of_the_finished(item) and not item.get_closest_marker("thorough"):
        return False
    if any("empty parameter set" in str(mark.kwargs) for mark in item.iter_markers("skip")):
        return False  # it holds for one step alone
    asks = {"world", "step"} & set(getattr(item, "fixturenames", ()))
    return bool(asks or item.get_closest_marker("thorough") or item.path.stem == "test_readmes")


class OneByGroup(LoadScopeScheduling):
    """Whoever takes one test of a group takes them all, and makes what they share only once."""

    def _split_scope(self, nodeid: str) -> str:
        file = Path(nodeid.partition("::")[0]).stem
        number = re.search(r"\[(0\d)", nodeid) if file in BY_STEP else None
        return f"{BY_STEP[file]} {number[1]}" if number else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> OneByGroup:
    return OneByGroup(config, log)


@pytest.fixture
def world(step: str, request: pytest.FixtureRequest) -> Iterator[World]:
    finished = step == FINISHED.number
    with FinishedWorld(loaded=request.getfixturevalue("loaded_programs")) if finished else World(step) as running:
        yield running


@pytest.fixture(scope="session")
def loaded_programs() -> Iterator[Loaded]:
    with Loaded(FINISHED) as loaded:
        yield loaded


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where Debian's Chromium is. Without it the browser tests are skipped, but never in CI."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found and not os.environ.get("CI"):
        pytest.skip("no Chromium here: apt install chromium")
    assert found, "CI must have Chromium"
    return found


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """A real one, without a window, that asks nobody else for anything."""
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=quiet)
        yield browser
        browser.close()
