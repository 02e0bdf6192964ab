"""What is counted, for Prometheus. Labels are names and reasons of our own: never a token, never what a client sent."""

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily

FAST = (0.000_02, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.01, 0.05, 0.25, 1, 3)  # seconds
LIFETIMES = (30, 60, 300, 600, 900, 3600, 86_400)  # seconds
COUNTED = {  # name: what it is, its labels, and what is shown as 0 before it happens
    "mcp_auth_calls": ("Calls let in: by token, or by which key", ["kind", "key"], [("oauth", "")]),
    "mcp_auth_refusals": ("Refused, by reason and rule", ["reason", "rule"], []),
    "mcp_auth_token_cache": ("Tokens verified a moment ago or not", ["result"], [("hit",), ("miss",)]),
    "mcp_auth_key_cache": ("Signing keys at hand or not", ["result"], [("hit",), ("miss",)]),
    "mcp_auth_key_fetches": ("Times we asked for the issuer's keys", ["result"], [("done",), ("failed",)]),
}


class Metrics:
    """A registry of its own for every app. `counts` are by name and labels: one thread counts, so it has no lock."""

    def __init__(self) -> None:
        self.counts = Counter({(name, *values): 0 for name, (_, _, known) in COUNTED.items() for values in known})
        self.registry = of = CollectorRegistry()
        of.register(self)
        took = Histogram("mcp_auth_validation_seconds", "Of a token", ["how"], registry=of, buckets=FAST)
        self.jwt_took, self.introspection_took = took.labels("jwt"), took.labels("introspection")
        self.seconds_left = Histogram("mcp_auth_token_seconds_left", "Of new tokens", registry=of, buckets=LIFETIMES)
        self.old_keys = Gauge("mcp_auth_old_keys", "1 while keys are used that could not be renewed", registry=of)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """For the registry, when somebody reads /metrics."""
        for name, (text, labels, _) in COUNTED.items():
            family = CounterMetricFamily(name, text, labels=labels)
            for (counted, *values), number in self.counts.items():
                if counted == name:
                    family.add_metric(values, number)
            yield family
