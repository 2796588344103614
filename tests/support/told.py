"""A daemon whose collectors return what a test sets: tests what users see, without a broker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from exporter.config import SourceConfig, parse
from exporter.daemon import Daemon
from exporter.model import CollectError, Collector, Deadline, Finding, Observation, Survey
from testbed.ports import PortBlock
from tests.support.observations import log, log_backlog

CONFIG = """
listen: 127.0.0.1:{port}
log: {{format: console, level: error}}
defaults: {{rate_window: 4s, hold: 2s}}
sources:
"""
SOURCE = """
  - name: {name}
    system: kafka
    bootstrap_servers: told:9092
    probe: {{enabled: false}}
    schedule: {{backlog: 200ms}}
"""


@dataclass
class Told:
    """The state of one simulated Kafka cluster: the lag of each partition, by group and topic."""

    lags: dict[tuple[str, str], Sequence[int]] = field(default_factory=dict)
    fault: str | None = None
    """If set, reading fails with this message."""
    end: int = 1_000_000
    system: str = "kafka"
    follows: Mapping[str, str] = field(default_factory=dict)
    tasks: Mapping[str, Callable[[Deadline], Observation]] = field(init=False)

    def __post_init__(self) -> None:
        self.tasks = {"backlog": self._backlog}

    def _backlog(self, _: Deadline) -> Observation:
        self.fail_if_told()
        parts: dict[str, int] = {}
        positions: dict[str, dict[str, dict[int, int | None]]] = {}
        for (group, topic), lags in list(self.lags.items()):
            parts[topic] = max(parts.get(topic, 0), len(lags))
            offsets = {index: self.end - lag for index, lag in enumerate(lags)}
            positions.setdefault(group, {})[topic] = {**offsets}
        logs = {topic: log(*[(0, self.end)] * count) for topic, count in parts.items()}
        return log_backlog(logs, positions)

    def fail_if_told(self) -> None:
        """Raise what a cluster that can't be read raises."""
        if self.fault is not None:
            raise CollectError("unreachable", self.fault)

    def due_early(self, task: str) -> bool:
        return False

    def check(self, deadline: Deadline) -> Sequence[Finding]:
        return ()

    def survey(self, deadline: Deadline, seconds: float) -> Survey:
        return Survey(frozenset(), frozenset(), ())

    def close(self) -> None:
        pass


class ToldDaemon:
    """A daemon in this process, with a source for each `Told`; a context manager."""

    def __init__(self, settings: str = "", /, **told: Told) -> None:
        """`settings` are further lines of the config."""
        self._settings = settings
        self._ports = PortBlock()
        self.port = self._ports.take()
        self.url = f"http://127.0.0.1:{self.port}"
        self._told = told
        self.daemon: Daemon | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self._ports.release()

    def start(self) -> None:
        """Start, or restart at the same address."""
        text = self._settings + CONFIG.format(port=self.port)
        text += "".join(SOURCE.format(name=name) for name in self._told)
        self.daemon = Daemon(parse(text, "told", {}), make=self._make)
        self.daemon.start()
        self._waiting = threading.Thread(target=self.daemon.wait)
        self._waiting.start()

    def stop(self) -> None:
        if self.daemon is not None:
            self.daemon.end()
            self._waiting.join()
            self.daemon.stop()
            self.daemon = None

    def _make(self, config: SourceConfig) -> Collector:
        return self._told[config.name]
