"""Runs the real exporter in a separate process, and scrapes it without parsing."""

from __future__ import annotations

import gzip
import http.client
import json
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

from bench.scales import Scale
from testbed.children import Child
from testbed.ports import PortBlock

Kind = Literal["gzip text", "plain text", "gzip OpenMetrics"]
KINDS: tuple[Kind, ...] = ("gzip text", "plain text", "gzip OpenMetrics")
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
TIMEOUT_SECONDS = 30.0
STOP_SECONDS = 10.0

_HEADERS: dict[Kind, dict[str, str]] = {
    "gzip text": {"Accept": "text/plain", "Accept-Encoding": "gzip"},
    "plain text": {"Accept": "text/plain", "Accept-Encoding": "identity"},
    "gzip OpenMetrics": {"Accept": OPENMETRICS, "Accept-Encoding": "gzip"},
}


class DaemonError(Exception):
    """The exporter ended, or did not do something in time."""


class Scrape(NamedTuple):
    """The body of one scrape, and how many seconds it took."""

    body: bytes
    seconds: float


class Daemon:
    """A running exporter with one Kafka source; a context manager."""

    def __init__(
        self,
        bootstrap: str,
        scale: Scale,
        interval_seconds: float,
        folder: Path,
        *,
        times: bool = False,
        as_shipped: str = "",
    ) -> None:
        """`times` runs the task `latency` after each poll of the backlog, not only the first.

        `as_shipped` leaves out every other setting: all tasks run at their default intervals, and
        the probes. It is the value of `offsets`, which is `auto` by default.
        """
        self._ports = PortBlock()
        self._port = self._ports.take()
        self._folder = folder
        self._config = folder / f"{scale.name}-{interval_seconds:g}s{'-times' * times}.yaml"
        source: dict[str, object] = {
            "name": "bench",
            "system": "kafka",
            "bootstrap_servers": bootstrap,
            # The other tasks run at the start, and not again while something is measured.
            "schedule": {
                "backlog": f"{interval_seconds:g}s",
                "consumers": "1h",
                "discovery": "1h",
                "latency": f"{interval_seconds:g}s" if times else "1h",
            },
            "probe": {"enabled": False},
        }
        if as_shipped:
            del source["schedule"], source["probe"]
            source["offsets"] = as_shipped
        if scale.max_series is not None:
            source["max_series"] = scale.max_series
        config = {"listen": f"127.0.0.1:{self._port}", "sources": [source]}
        self._config.write_text(json.dumps(config), encoding="utf-8")
        self._connection: http.client.HTTPConnection | None = None
        self._child: Child | None = None
        self.started = 0.0

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "exporter", "run", "--config", str(self._config)]
        self.started = time.monotonic()
        self._child = Child(command, self._config.with_suffix(".log"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._child is not None:
            try:
                self._child.terminate(STOP_SECONDS)
            finally:
                self._child.kill()
        self._ports.release()

    @property
    def pid(self) -> int:
        """Process id of the daemon. The processes that it starts are its children."""
        if self._child is None:
            raise DaemonError("the exporter has not been started")
        return self._child.pid

    def stand_still(self, seconds: float) -> None:
        """Stop all its processes for so many seconds."""
        if self._child is None:
            raise DaemonError("the exporter has not been started")
        self._child.pause_all()
        time.sleep(seconds)
        self._child.resume_all()

    def scrape(self, kind: Kind) -> Scrape:
        """Scrape. The connection is kept, like Prometheus does."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(
                "127.0.0.1", self._port, timeout=TIMEOUT_SECONDS
            )
        began = time.perf_counter()
        try:
            self._connection.request("GET", "/metrics", headers=_HEADERS[kind])
            answer = self._connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self._connection = None
            raise
        seconds = time.perf_counter() - began
        if answer.status != http.client.OK:
            raise DaemonError(f"a scrape is answered with {answer.status}")
        return Scrape(body, seconds)

    def exposition(self) -> bytes:
        """Scrape and unpack; raises `DaemonError` if the exporter has ended."""
        try:
            return gzip.decompress(self.scrape("gzip text").body)
        except OSError:
            self.check()
            raise

    def check(self) -> None:
        """Raise `DaemonError` if the exporter has ended."""
        if self._child is None or not self._child.is_running:
            tail = self._child.log_tail() if self._child is not None else ""
            raise DaemonError(f"the exporter ended; the end of its log:\n{tail}")
