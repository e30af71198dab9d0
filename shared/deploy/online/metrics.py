"""Figures of the online service for Prometheus; no label ever holds an id or a value of a request."""

import time
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_TENTHS: Final = tuple(place / 10 for place in range(1, 10))

REQUESTS: Final = "accelerators_online_requests_total"
SECONDS: Final = "accelerators_online_request_seconds"
PROBABILITY: Final = "accelerators_online_probability"
MODEL: Final = "accelerators_online_model_info"
LOADED: Final = "accelerators_online_model_loaded_timestamp_seconds"
REFUSED: Final = "accelerators_online_model_refused_total"


class OnlineMetrics:
    """The figures of one service."""

    def __init__(self, vertical: str) -> None:
        self.registry = CollectorRegistry()
        self._vertical = vertical
        self.requests = Counter(
            REQUESTS, "Requests answered.", ["vertical", "endpoint", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            SECONDS,
            "Time of a request in the service.",
            ["vertical", "endpoint"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.probability = Histogram(
            PROBABILITY, "Probabilities answered.", ["vertical"], buckets=_TENTHS, registry=self.registry
        ).labels(vertical)
        self._model = Gauge(
            MODEL, "1 for the model that answers.", ["vertical", "name", "version"], registry=self.registry
        )
        self._loaded = Gauge(LOADED, "When the model that answers was loaded.", ["vertical"], registry=self.registry)
        self._refused = Counter(
            REFUSED, "Models that could not take its place.", ["vertical"], registry=self.registry
        ).labels(vertical)

    def took(self, name: str, version: int) -> None:
        """Note which model answers from now on."""
        self._model.clear()
        self._model.labels(self._vertical, name, str(version)).set(1)
        self._loaded.labels(self._vertical).set(time.time())

    def refused(self) -> None:
        """Note that a model could not be taken."""
        self._refused.inc()

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """Note a request."""
        self.requests.labels(self._vertical, endpoint, str(status)).inc()
        self.seconds.labels(self._vertical, endpoint).observe(seconds)

    def as_text(self) -> bytes:
        """Return what Prometheus reads."""
        return generate_latest(self.registry)
