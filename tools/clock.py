"""A clock in the hand: time passes for a program when we say so."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import time_machine


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


class Monotonic(Clock):
    """The same where the time of day has been turned for the whole program."""

    def time(self) -> float:
        return time.time()


ours = Monotonic()  # of this process
of_the_day: list["time_machine.Traveller"] = []  # begun when it is turned for the first time


def turn(modules: Iterable[ModuleType], seconds: float) -> None:
    """In this process so much more time has passed; less, if it is negative.

    The time of day is turned for everybody, whichever library asks for it; `time.monotonic` only for these modules,
    because others measure with it how long they wait.
    """
    import time_machine  # it brings pytest along, a tenth of a second that no server needs to start

    if not of_the_day:
        of_the_day.append(time_machine.travel(datetime.now(UTC), tick=True).start())
    ours.ahead += seconds
    of_the_day[0].shift(time_machine.escape_hatch.time.time() + ours.ahead - time.time())  # nothing is lost on the way
    for module in modules:
        if getattr(module, "time", None) is time:
            module.time = ours
