"""Scrapes continuously while a test breaks something."""

from __future__ import annotations

from collections.abc import Mapping

from testbed.background import Background
from testbed.exporter import Exporter, Scrape

Key = tuple[str, str, int]


class Watch(Background):
    """Scrapes without a pause until the block ends, and keeps all values."""

    STOP_SECONDS = 60.0

    def __init__(self, exporter: Exporter) -> None:
        super().__init__()
        self._exporter = exporter
        self.seconds: list[float] = []
        """Duration of each scrape."""
        self.lags: dict[Key, set[int]] = {}
        """All exposed lags, by group, topic and partition."""
        self.errors: list[str] = []
        self.counters: dict[str, list[float]] = {}
        """Sums of the counters at each scrape."""

    def _run(self) -> None:
        while not self._stopping.wait(0.1):
            try:
                taken, page = self._exporter.timed_scrape()
            except Exception as error:  # noqa: BLE001 - whatever it was, the test must hear of it
                self.errors.append(repr(error))
                continue
            self.seconds.append(taken)
            self._note(page)

    def _note(self, page: Scrape) -> None:
        for key, lag in page.lags().items():
            self.lags.setdefault(key, set()).add(lag)
        for name in ("mq_produced_messages_total", "mq_consumed_messages_total"):
            self.counters.setdefault(name, []).append(sum(page.find(name).values()))

    def hold(self, truth: Mapping[Key, int], slowest_seconds: float) -> None:
        """Assert that only true lags were exposed, and that no scrape failed or was slow."""
        assert self.errors == []
        assert self.lags == {key: {lag} for key, lag in truth.items()}
        assert max(self.seconds) < slowest_seconds
