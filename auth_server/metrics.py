"""What an operator watches, for Prometheus. No label holds what strangers sent.

Counted in plain numbers, and put into Prometheus's words when somebody asks: its library takes its time to start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Of one server: two in one process count apart."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str]] = Counter()  # by endpoint and status
        self.seconds: Counter[tuple[str]] = Counter()  # all together, by endpoint
        self.refused: Counter[tuple[str]] = Counter()  # by error code: one of ours, never a text that somebody sent
        self.tokens: Counter[tuple[str]] = Counter()  # by grant type
        self.purged: Counter[tuple] = Counter()  # rows

    def text(self) -> bytes:
        """In Prometheus's text format, of type `CONTENT_TYPE`. Every name begins with `auth_server_`."""
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        """What a registry asks for."""
        from prometheus_client.core import CounterMetricFamily

        for name, says, labels, counts in (
            ("requests", "Answers, by endpoint and status", ("endpoint", "status"), self.requests),
            ("request_seconds", "From request to answer, all together, by endpoint", ("endpoint",), self.seconds),
            ("refused", "Refusals, by error code", ("error",), self.refused),
            ("tokens", "Access tokens made, by grant type", ("grant_type",), self.tokens),
            ("purged_rows", "Expired rows that were deleted", (), self.purged),
        ):
            family = CounterMetricFamily(f"auth_server_{name}", says, labels=labels)
            for values, count in dict(counts).items():
                family.add_metric(values, count)
            yield family
