"""Counters of a service for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
WINDOWS = (1, 2, 4, 8, 16, 32, 64)


class Telemetry:
    """The counters of one service, in their own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "ser_requests", "Answered requests", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "ser_request_seconds", "Time to the answer", ["route"],
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.waiting = Gauge(
            "ser_requests_waiting", "Recordings waiting or in progress", registry=self.registry
        )
        self.live = Gauge("ser_live_sessions", "Open live sessions", registry=self.registry)
        self.batches = Histogram(
            "ser_batch_windows", "Windows per batch", buckets=WINDOWS, registry=self.registry
        )
        self.audio = Counter("ser_audio_seconds", "Audio predicted", registry=self.registry)
