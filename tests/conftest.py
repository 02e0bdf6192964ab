"""What the tests share: a step in process, fresh for every test, and a browser that is a real one."""

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.world import World

STEPS = ("01", "02", "03", "04", "05", "06", "07")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--step", help="only the tests of one step, on its own code: --step 04")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "steps(*numbers): the steps for which this test must hold")
    os.environ["HEADLESS"] = "1"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `world` or `step` is run for every step its module or itself names."""
    if not {"world", "step"} & set(metafunc.fixturenames):
        return
    marker = metafunc.definition.get_closest_marker("steps")
    numbers = marker.args if marker else STEPS
    only = metafunc.config.getoption("--step")
    metafunc.parametrize("step", [n for n in numbers if only in (None, n)], ids=lambda n: f"step{n}", scope="function")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if only := config.getoption("--step"):
        items[:] = [item for item in items if hasattr(item, "callspec") and item.callspec.params.get("step") == only]


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
