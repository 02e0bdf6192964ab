"""What is counted, for Prometheus. Labels are names and reasons of our own: never a token, never what a client sent."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily

FAST = (0.000_02, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.01, 0.05, 0.25, 1, 3)  # seconds
LIFETIMES = (30, 60, 300, 600, 900, 3600, 86_400)  # seconds


class Count:
    """A number that grows. Every call counts three of them, so it has no lock: one thread counts."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self) -> None:
        self.value += 1


class Counts:
    """Numbers of one name, by their labels. Prometheus is told when it asks."""

    def __init__(self, name: str, text: str, labels: list[str], registry: CollectorRegistry):
        self.about, self.counts = (name, text, None, labels), {}
        registry.register(self)

    def labels(self, *values: str) -> Count:
        return self.counts.setdefault(values, Count())

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily(*self.about)
        for values, count in self.counts.items():
            family.add_metric(values, count.value)
        yield family


class Metrics:
    """A registry of its own for every app."""

    def __init__(self) -> None:
        self.registry = of = CollectorRegistry()
        self.calls = Counts("mcp_auth_calls", "Calls let in: by token, or by which key", ["kind", "key"], of)
        self.calls_by_token = self.calls.labels("oauth", "")
        self.refusals = Counts("mcp_auth_refusals", "Refused, by reason and rule", ["reason", "rule"], of)
        took = Histogram("mcp_auth_validation_seconds", "Of a token", ["how"], registry=of, buckets=FAST)
        self.jwt_took, self.introspection_took = took.labels("jwt"), took.labels("introspection")
        left = "Life left in tokens seen first"
        self.seconds_left = Histogram("mcp_auth_token_seconds_left", left, registry=of, buckets=LIFETIMES)
        tokens = Counts("mcp_auth_token_cache", "Tokens verified a moment ago or not", ["result"], of)
        self.seen, self.unseen = tokens.labels("hit"), tokens.labels("miss")
        keys = Counts("mcp_auth_key_cache", "Signing keys at hand or not", ["result"], of)
        self.key_hits, self.key_misses = keys.labels("hit"), keys.labels("miss")
        fetches = Counts("mcp_auth_key_fetches", "Times we asked for the issuer's keys", ["result"], of)
        self.fetched, self.not_fetched = fetches.labels("done"), fetches.labels("failed")
        self.old_keys = Gauge("mcp_auth_old_keys", "1 while keys are used that could not be renewed", registry=of)
