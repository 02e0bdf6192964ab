"""Two things measured in turns, A B, B A, A B, …: whatever else this computer does is about the same for both."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Row:
    """One line of the result. `value` is in `unit`; `ratio` is to `against`, mostly from `low` to `high` (quartiles).

    `cpu` is the same ratio in the server's processor time, which others on this computer disturb less. `bar` is what
    was promised, in words; `kept` whether it is so, None where nothing was promised.
    """

    part: str
    what: str
    value: float
    unit: str
    against: str = ""
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    cpu: float | None = None
    bar: str = ""
    kept: bool | None = None


class Took(NamedTuple):
    """Seconds for one thing, by the clock on the wall, and of the server's processor (0 where nobody knows)."""

    wall: float
    cpu: float = 0.0


class Ratios(NamedTuple):
    """The median of many ratios, and between which two the middle half of them lies."""

    middle: float
    low: float
    high: float


@dataclass(frozen=True)
class Pairs:
    """What was measured, always two at about the same time: ours, and what it is compared with."""

    taken: Sequence[tuple[Took, Took]]

    @property
    def ours(self) -> float:
        return statistics.median(own.wall for own, _ in self.taken)

    @property
    def theirs(self) -> float:
        return statistics.median(other.wall for _, other in self.taken)

    def ratios(self, inverse: bool = False) -> Ratios:
        """Ours to theirs in time; `inverse`: in how many there are in a second."""
        found = [(other.wall / own.wall) if inverse else (own.wall / other.wall) for own, other in self.taken]
        return Ratios(statistics.median(found), *quartiles(found))

    def cpu(self, inverse: bool = False) -> float | None:
        found = [(own.cpu, other.cpu) for own, other in self.taken if own.cpu and other.cpu]
        if not found:
            return None
        ratio = statistics.median(own / other for own, other in found)
        return 1 / ratio if inverse else ratio


def alternate(ours: Callable[[int], Took], theirs: Callable[[int], Took], count: int) -> Pairs:
    """`count` pairs. Both are called with the number of the pair, from 0 on, and say what they measured."""
    taken = []
    for turn in range(count):
        if turn % 2:
            other, own = theirs(turn), ours(turn)
        else:
            own, other = ours(turn), theirs(turn)
        taken.append((own, other))
    return Pairs(taken)


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, third


def at_most(part: str, what: str, unit: str, found: Pairs, against: str, bar: float | None) -> Row:
    """A row about times, in seconds (`s`), milliseconds (`ms`) or microseconds (`µs`): the smaller the better."""
    value = found.ours * {"s": 1, "ms": 1e3, "µs": 1e6}[unit]
    kept, words = (None, "") if bar is None else (found.ratios().middle <= bar, f"≤ {bar:.2f} ×")
    return Row(part, what, value, unit, against, *found.ratios(), found.cpu(), words, kept)


def at_least(part: str, what: str, found: Pairs, against: str, bar: float) -> Row:
    """A row about how many there are in a second: the more the better."""
    ratios = found.ratios(inverse=True)
    cpu, words = found.cpu(inverse=True), f"≥ {bar:.2f} ×"
    return Row(part, what, 1 / found.ours, "/s", against, *ratios, cpu, words, ratios.middle >= bar)


def below(part: str, what: str, value: float, unit: str, bar: float, spread: Sequence[float] = ()) -> Row:
    """A row with a bar of its own, in the unit of the value."""
    low, high = quartiles(spread) if spread else (None, None)
    return Row(part, what, value, unit, "", None, low, high, None, f"≤ {bar:g} {unit}", value <= bar)
