"""What the tests share: a step in process, fresh for every test, and a browser that is a real one."""

import os
import re
import shutil
from collections.abc import Iterator

import pytest

from tests.world import World
from tools.catalogue import all_steps

STEPS = tuple(all_steps())


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--step", help="only the tests of one step, on its own code: --step 04")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "steps(*numbers): the steps for which this test must hold")
    config.addinivalue_line("markers", "since(first): it must hold for this step and all later ones")
    os.environ["HEADLESS"] = "1"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `world` or `step` holds for the steps that its module or itself names.

    It runs for the first of them and for the last; for the last alone, if they are neighbours. What lies between is
    copied from its neighbours, attacked by the catalogue, and walked by its README. `--step 06` runs all that holds for
    one step.
    """
    if not {"world", "step"} & set(metafunc.fixturenames):
        return
    numbers = numbers_of(metafunc.definition)
    only = metafunc.config.getoption("--step")
    ends = [numbers[0], numbers[-1]] if len(numbers) > 2 else [numbers[-1]]
    chosen = [n for n in numbers if n == only] if only else ends
    metafunc.parametrize("step", chosen, ids=lambda n: f"step{n}", scope="function")


def numbers_of(test: pytest.Item) -> tuple[str, ...]:
    marker = next((mark for mark in test.iter_markers() if mark.name in ("steps", "since")), None)
    if marker is None:
        return STEPS
    return marker.args if marker.name == "steps" else STEPS[STEPS.index(marker.args[0]) :]


SLOW = ("test_attacks", "test_readmes", "test_walks", "test_tools", "test_when_things_go_wrong", "test_browser")
BY_STEP = ("test_attacks", "test_readmes", "test_walks")


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The slow ones first. A core that takes one of a group takes all of it, and makes what they share only once."""
    if only := config.getoption("--step"):
        items[:] = [item for item in items if hasattr(item, "callspec") and item.callspec.params.get("step") == only]
        return
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group_of(item)))
    items.sort(key=lambda item: SLOW.index(item.path.stem) if item.path.stem in SLOW else len(SLOW))


def group_of(item: pytest.Item) -> str:
    number = re.search(r"\[(0\d)", item.name) if item.path.stem in BY_STEP else None
    kind = "attacks" if item.path.stem == "test_attacks" else "walks"
    return f"{kind}-{number[1]}" if number else item.path.stem


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
