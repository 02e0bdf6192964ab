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
from tests.world import World
from tools.catalogue import all_steps

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
    chosen = [n for n in numbers if n == only] if only else numbers[-1:]
    if config.getoption("--everything"):
        chosen = numbers
    if config.getoption("--rest") and not metafunc.definition.get_closest_marker("thorough"):
        chosen = numbers[:-1]
    metafunc.parametrize("step", chosen, ids=lambda n: f"step{n}", scope="function")


def numbers_of(test: pytest.Item) -> tuple[str, ...]:
    marker = next((mark for mark in test.iter_markers() if mark.name in ("steps", "since")), None)
    if marker is None:
        return STEPS
    return marker.args if marker.name == "steps" else STEPS[STEPS.index(marker.args[0]) :]


SLOW = (
    "test_checks",
    "test_attacks",
    "test_readmes",
    "test_walks",
    "test_tools",
    "test_when_things_go_wrong",
    "test_browser",
)
BY_STEP = {"test_attacks": "attacks", "test_readmes": "walks", "test_walks": "walks", "test_trace": "walks"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The slow ones first."""
    if only := config.getoption("--step"):
        items[:] = [item for item in items if hasattr(item, "callspec") and item.callspec.params.get("step") == only]
        return
    if not config.getoption("--everything"):
        items[:] = [item for item in items if not item.get_closest_marker("thorough")]
    if config.getoption("--rest"):
        items[:] = [item for item in items if belongs_to_the_rest(item)]
    items.sort(key=lambda item: SLOW.index(item.path.stem) if item.path.stem in SLOW else len(SLOW))


def belongs_to_the_rest(item: pytest.Item) -> bool:
    """Who asks for a step has been chosen by it already; of a README the same test does more."""
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
def world(step: str) -> Iterator[World]:
    with World(step) as running:
        yield running


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
