"""A clock in the hand: time passes for a program when we say so."""

import time


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
