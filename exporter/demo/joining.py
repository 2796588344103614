"""Lets servers join the demo when they answer, so that none is shown as down while it boots."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from exporter.daemon import Daemon

POLL_SECONDS = 0.3


class EmbeddedServer(Protocol):
    """A server program that belongs to the demo, with a workload."""

    name: str
    story: str

    def source(self) -> str:
        """Return the source's lines for a config."""

    def start(self, folder: Path) -> None:
        """Start the server with data in `folder`, which does not exist yet."""

    def answers(self) -> bool:
        """Return whether the server can be used. Prepares what the workload needs."""

    def ended(self) -> str | None:
        """Return the last line of the server's log if the server has ended by itself."""

    def work(self) -> None:
        """Start the workload."""

    def stop(self) -> None:
        """Stop the server and the workload."""


@dataclass
class _Joining:
    server: EmbeddedServer
    answers: threading.Event = field(default_factory=threading.Event)
    is_source: bool = False
    works: bool = False
    fault: str | None = None


class Joiner:
    """Starts servers. Each becomes a source when it answers, and works when it has been read.

    So the exporter sees each queue before anything happens to it: one that had no consumer before
    would be dormant.
    """

    def __init__(
        self, servers: Sequence[EmbeddedServer], daemon: Daemon, config: str, folder: Path
    ) -> None:
        """`config` is the daemon's config so far. Its file is `config_path(folder)`."""
        self._joining = [_Joining(server) for server in servers]
        self._daemon = daemon
        self._config = config
        self._folder = folder
        self._stop = threading.Event()

    def start(self) -> None:
        """Start all servers."""
        for each in self._joining:
            each.server.start(self._folder / each.server.name)
            threading.Thread(target=self._await_answer, args=(each,), daemon=True).start()

    def stop(self) -> None:
        """Stop all servers."""
        self._stop.set()
        for each in self._joining:
            each.server.stop()

    def poll(self) -> list[dict[str, Any]]:
        """Let servers join that have come as far. Return the others as sources of an overview."""
        for each in self._joining:
            if not each.answers.is_set():
                each.fault = each.server.ended()
            elif not each.is_source:
                each.is_source = True
                self._config += each.server.source()
                path = config_path(self._folder)
                path.touch(mode=0o600)
                path.write_text(self._config)
                each.fault = self._daemon.reload()
            elif not each.works and self._has_read(each.server.name):
                each.works = True
                each.server.work()
        return [
            {"source": each.server.name, "up": False, "message": each.fault, "starting": True}
            for each in self._joining
            if not each.is_source or each.fault is not None
        ]

    def fetch(self) -> dict[str, Any]:
        """Poll, and return the daemon's overview with the servers that have not joined yet."""
        waiting = self.poll()
        overview = self._daemon.overview()
        overview["sources"] += waiting
        return overview

    def _has_read(self, name: str) -> bool:
        source = self._daemon.sources.get(name)
        return source is not None and source.status()["age_seconds"] is not None

    def _await_answer(self, each: _Joining) -> None:
        while not self._stop.wait(POLL_SECONDS):
            if each.server.answers():
                each.answers.set()
                return


def config_path(folder: Path) -> Path:
    """Return the path of the config that the daemon reloads when a server joins."""
    return folder / "config.yaml"
