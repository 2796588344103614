"""Runs kminion on the same broker, to compare it with the exporter in one run.

Build it with `go install github.com/cloudhut/kminion/v2@latest`.
"""

from __future__ import annotations

import gzip
import http.client
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from bench.scales import Place, Standing
from testbed.children import Child
from testbed.ports import PortBlock

Mode = Literal["adminApi", "offsetsTopic"]
MODES: tuple[Mode, ...] = ("adminApi", "offsetsTopic")
TIMEOUT_SECONDS = 60.0
FIRST_PAGE_SECONDS = 300.0
STOP_SECONDS = 10.0
_LAG = re.compile(
    rb"^kminion_kafka_consumer_group_topic_partition_lag\{([^}]*)\} (\S+)$", re.MULTILINE
)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class Kminion:
    """A running kminion with its default settings; a context manager."""

    def __init__(self, binary: Path, bootstrap: str, mode: Mode, folder: Path) -> None:
        self._binary = binary
        self._ports = PortBlock()
        self._port = self._ports.take()
        self._log = folder / f"kminion-{mode}.log"
        self._environment = {
            **os.environ,
            "KAFKA_BROKERS": bootstrap,
            "MINION_CONSUMERGROUPS_SCRAPEMODE": mode,
            "EXPORTER_HOST": "127.0.0.1",
            "EXPORTER_PORT": str(self._port),
        }
        self._child: Child | None = None
        self.started = 0.0

    def __enter__(self) -> Self:
        self.started = time.monotonic()
        self._child = Child([str(self._binary)], self._log, self._environment)
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
        """Process id."""
        if self._child is None:
            raise RuntimeError("kminion has not been started")
        return self._child.pid

    def check(self) -> None:
        """Raise an error if it has ended."""
        if self._child is None or not self._child.is_running:
            tail = self._child.log_tail() if self._child is not None else ""
            raise RuntimeError(f"kminion ended; the end of its log:\n{tail}")

    def scrape(self) -> bytes:
        """Return the page. Raises `OSError` if it does not answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
            answer = connection.getresponse()
            body = answer.read()
            return gzip.decompress(body) if answer.getheader("Content-Encoding") == "gzip" else body
        except http.client.HTTPException as error:
            raise ConnectionError(repr(error)) from error
        finally:
            connection.close()

    def right(self, truth: Mapping[Place, Standing]) -> int:
        """Scrape, and return how many positions have the right lag."""
        found = {}
        for labels, value in _LAG.findall(self.scrape()):
            names = dict(_LABEL.findall(labels.decode()))
            place = Place(names["group_id"], names["topic_name"], int(names["partition_id"]))
            found[place] = float(value)
        return sum(found.get(place) == standing.lag for place, standing in truth.items())

    def first_page(self, truth: Mapping[Place, Standing]) -> float | None:
        """Return the seconds from its start until every lag is right; None if it never is."""
        while time.monotonic() - self.started < FIRST_PAGE_SECONDS:
            try:
                if self.right(truth) == len(truth):
                    return time.monotonic() - self.started
            except OSError:
                self.check()
            time.sleep(0.5)
        return None
