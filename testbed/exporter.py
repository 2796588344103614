"""The daemon as users run it: a process with a config file, read through HTTP."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from testbed.children import Child
from testbed.nsq import NsqCluster
from testbed.ports import PortBlock
from testbed.rabbitmq import RabbitCluster
from testbed.rabbitmq_access import password_of
from testbed.waiting import wait_until

Labels = tuple[tuple[str, str], ...]
Series = tuple[str, Labels]
"""The name and the labels of a series."""
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Scrape:
    """One parsed exposition. Duplicate series are an error."""

    def __init__(self, page: str, *, text: bool = False) -> None:
        """Parse OpenMetrics, or the text format."""
        self.series: dict[Series, float] = {}
        for samples in (
            [_series_of(parse_text(page))] if text else map(_samples_of, _families(page))
        ):
            twice = self.series.keys() & samples.keys()
            if twice:
                raise AssertionError(f"twice on the page: {twice}")
            self.series.update(samples)

    def find(self, metric: str, **labels: str) -> dict[Labels, float]:
        """The metric's series that have these labels."""
        wanted = set(labels.items())
        return {
            found: value
            for (name, found), value in self.series.items()
            if name == metric and wanted <= set(found)
        }

    def value(self, metric: str, **labels: str) -> float | None:
        """The value of the one series with these labels; None without one."""
        found = self.find(metric, **labels)
        if len(found) > 1:
            raise AssertionError(f"{len(found)} series of {metric} with {labels}")
        return next(iter(found.values()), None)

    def lags(self, source: str = "test") -> dict[tuple[str, str, int], int]:
        """Lag by group, topic and partition."""
        return {
            (d["group"], d["destination"], int(d["partition"])): int(value)
            for labels, value in self.find("mq_lag_messages", source=source).items()
            for d in [dict(labels)]
        }


def _families(page: str) -> list[str]:
    """Split an OpenMetrics page before each family. No name may appear twice."""
    assert page.endswith("# EOF\n"), page[-200:]
    found = re.split("^(?=# HELP )", page.removesuffix("# EOF\n"), flags=re.MULTILINE)
    names = [family.split(" ", 3)[2] for family in found if family]
    assert len(set(names)) == len(names), names
    return found


@lru_cache(maxsize=500)
def _samples_of(family: str) -> Mapping[Series, float]:
    """Parse a family. It is cached, since most did not change since the last scrape."""
    return _series_of(parse_openmetrics(f"{family}# EOF\n"))


def _series_of(families: Iterable[Metric]) -> Mapping[Series, float]:
    series: dict[Series, float] = {}
    for family in families:
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            if key in series:
                raise AssertionError(f"twice on the page: {key}")
            series[key] = sample.value
    return series


class Exporter:
    """A running daemon; a context manager."""

    def __init__(
        self,
        folder: Path,
        sources: list[dict[str, Any]],
        *,
        defaults: Mapping[str, Any] | None = None,
        log_level: str = "info",
        wrapped_by: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        module: str = "exporter",
    ) -> None:
        """`module` is what Python runs as the command.

        `wrapped_by` is a command that runs the daemon given as its last arguments, under its own
        pid.

        `environment` is added to the variables of the test run.
        """
        self._module = module
        self._wrapped_by = wrapped_by
        self._environment = None if environment is None else {**os.environ, **environment}
        self._ports = PortBlock()
        self.port = self._ports.take()
        self.config = folder / "config.yaml"
        self._defaults = {
            "schedule": {"backlog": "1s", "consumers": "1s", "discovery": "2s"},
            "rate_window": "10s",
            **(defaults or {}),
        }
        self._log_level = log_level
        self._checked = False
        self.write(sources)
        self._log = folder / "exporter.log"
        self.child: Child | None = None

    def write(self, sources: list[dict[str, Any]], **more: Any) -> None:
        """Write the config file; JSON is YAML."""
        config = {
            "listen": f"127.0.0.1:{self.port}",
            "log": {"level": self._log_level},
            "defaults": self._defaults,
            "sources": sources,
            **more,
        }
        self.config.write_text(json.dumps(config))

    def __enter__(self) -> Self:
        self.start()
        return self

    def start(self) -> None:
        """Start it, also again after it has ended; return when it answers."""
        command = [*self._wrapped_by, sys.executable, "-m", self._module]
        command += ["run", "--config", str(self.config)]
        self.child = Child(command, self._log, self._environment)
        wait_until(self._is_up, "the exporter to answer")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self.child is not None
        if error is not None:
            print(self.child.log_tail())  # noqa: T201 - pytest shows it with the failure
        self.child.resume()
        self.child.kill()
        self._ports.release()

    @property
    def pid(self) -> int:
        assert self.child is not None
        return self.child.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log(self) -> str:
        return self._log.read_text()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def hang_up(self) -> None:
        """Make it reload its config."""
        self.signal(signal.SIGHUP)

    def terminate(self) -> None:
        """Stop it cleanly, as a supervisor does."""
        assert self.child is not None
        self.child.terminate(30)

    def get(self, path: str, **headers: str) -> requests.Response:
        return requests.get(self.url + path, headers=headers, timeout=30)

    def scrape(self) -> Scrape:
        answer = self.get("/metrics", Accept=OPENMETRICS)
        answer.raise_for_status()
        page = answer.content.decode()
        if not self._checked:
            # Finds what is wrong between families, such as names that clash.
            self._checked = bool(list(parse_openmetrics(page)))
        return Scrape(page)

    def timed_scrape(self) -> tuple[float, Scrape]:
        """The duration of a scrape in seconds, and the scrape."""
        started = time.perf_counter()
        answer = self.get("/metrics", Accept=OPENMETRICS)
        taken = time.perf_counter() - started
        answer.raise_for_status()
        return taken, Scrape(answer.content.decode())

    def wait(
        self, condition: Callable[[Scrape], Any], what: str, timeout_seconds: float = 120.0
    ) -> Scrape:
        """The first scrape for which the condition holds."""

        def look() -> Scrape | None:
            page = self.scrape()
            return page if condition(page) else None

        found = wait_until(look, what, timeout_seconds)
        assert found is not None
        return found

    def cycles(self, count: int = 2, source: str = "test") -> Scrape:
        """A scrape after `count` more complete runs of the backlog task."""
        metric = "mq_collect_last_success_timestamp_seconds"
        page = self.scrape()
        for _ in range(count):
            before = page.value(metric, source=source, task="backlog")

            def moved(seen: Scrape, before: float | None = before) -> bool:
                return seen.value(metric, source=source, task="backlog") != before

            page = self.wait(moved, "a cycle")
        return page

    def _is_up(self) -> bool:
        assert self.child is not None
        if not self.child.is_running:
            raise AssertionError(f"the exporter ended: {self.child.log_tail()}")
        try:
            return bool(self.get("/-/healthy").status_code == requests.codes.ok)
        except requests.ConnectionError:
            return False


def settled(exporter: Exporter, wanted: Mapping[str, float | None], **labels: str) -> Scrape:
    """The first scrape in which these metrics have these values.

    None means no series with these labels.
    """

    def seen(page: Scrape) -> dict[str, float | None]:
        return {name: page.value(name, **labels) for name in wanted}

    try:
        return exporter.wait(lambda page: seen(page) == wanted, f"{wanted} of {labels}", 60)
    except TimeoutError as e:
        raise AssertionError(f"{labels}: {seen(exporter.scrape())}, not {wanted}") from e


def kafka_source(bootstrap: str, name: str = "test", **more: Any) -> dict[str, Any]:
    """A source of a config."""
    return {"name": name, "system": "kafka", "bootstrap_servers": bootstrap, **more}


def rabbit_source(rabbit: RabbitCluster, name: str = "test", **more: Any) -> dict[str, Any]:
    """A source of a config: all nodes of the cluster."""
    return {
        "name": name,
        "system": "rabbitmq",
        "management_url": [rabbit.management_url(node) for node in rabbit.nodes],
        "amqp_url": [f"amqp://127.0.0.1:{rabbit.port('amqp', node)}" for node in rabbit.nodes],
        "username": "admin",
        "password": password_of("admin"),
        **more,
    }


def nsq_source(nsq: NsqCluster, name: str = "test", **more: Any) -> dict[str, Any]:
    """A source of a config: all nsqlookupds of the cluster."""
    lookupds = [nsq.http_url(lookupd) for lookupd in nsq.lookupds]
    return {"name": name, "system": "nsq", "nsqlookupd": lookupds, **more}
