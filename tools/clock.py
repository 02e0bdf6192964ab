"""A clock in the hand: time passes for a program when we say so."""

import time
from collections.abc import Iterable
from types import ModuleType


class Clock:
    """What a program takes for the module `time`. Turning it forward takes no time."""

    def __init__(self) -> None:
        self.ahead = 0.0  # seconds

    def time(self) -> float:
        return time.time() + self.ahead

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead

    def __getattr__(self, name: str) -> object:
        return getattr(time, name)


ours = Clock()  # of this process


def turn(modules: Iterable[ModuleType], seconds: float) -> None:
    """For these programs of this process, so much more time has passed; less, if it is negative."""
    ours.ahead += seconds
    for module in modules:
        if getattr(module, "time", None) is time:
            module.time = ours
