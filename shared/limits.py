"""How often something may happen: so many times in a window that moves with the clock, by key."""

import time
from collections import deque
from collections.abc import Hashable


class Window:
    """At most `limit` times in any `seconds` for one key. It remembers no more than `most` keys, those counted last."""

    def __init__(self, limit: int, seconds: float = 60.0, most: int = 10_000):
        self.limit, self.seconds, self.most = limit, seconds, most
        self.times: dict[Hashable, deque[float]] = {}

    def wait(self, key: Hashable) -> int:
        """Whole seconds until it may happen once more; 0 if it may happen now."""
        times = self.times.get(key)
        if not times:
            return 0
        now = time.monotonic()
        while times and times[0] <= now - self.seconds:
            times.popleft()
        if not times:
            del self.times[key]
        return int(times[0] + self.seconds - now) + 1 if len(times) >= self.limit else 0

    def count(self, key: Hashable) -> None:
        times = self.times.pop(key, None)
        if times is None:
            times = deque(maxlen=self.limit)
            if len(self.times) >= self.most:
                del self.times[next(iter(self.times))]  # the one that was counted longest ago
        self.times[key] = times
        times.append(time.monotonic())

    def take_back(self, key: Hashable) -> None:
        """What was counted last for this key did not matter."""
        if times := self.times.get(key):
            times.pop()
            if not times:
                del self.times[key]
