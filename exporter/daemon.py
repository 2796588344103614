"""Connects config, collectors, schedules, state and server, and runs them until the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import structlog

from exporter import __version__
from exporter.analysis.rows import Key, Wanted
from exporter.collectors.making import make_collector
from exporter.config import Config, ConfigError, LogConfig, SourceConfig, load
from exporter.keda.service import KedaService
from exporter.liveness import Pulse
from exporter.model import Collector, Until
from exporter.scrub import scrub
from exporter.show.exposition import Exposition
from exporter.show.overview import Query, Row, finish, key_of, select
from exporter.show.own_metrics import OwnMetrics
from exporter.show.texts import STATUS_MEANINGS
from exporter.sources.config_report import ConfigReport
from exporter.sources.from_config import same_place
from exporter.sources.scaling_keeper import ScalingKeeper
from exporter.sources.source import Carried, Source
from exporter.sources.thresholds import threshold_table
from exporter.sources.watchdog import SourceWatchdog
from exporter.survey.globs import GlobWatch
from exporter.web.routes import routes
from exporter.web.server import Server
from exporter.web.webconfig import WebConfig

STOP_SECONDS = 3.0
"""Seconds for tasks and server to end. Those still blocked by a broker are abandoned."""
TICK = 0.5
LOOP_SECONDS = 30.0
"""A round of the main loop that takes longer counts as stuck."""
RELOAD_SECONDS = 30.0
"""How long a reload waits for a running one."""
EVERYTHING = Query()

MakeCollector = Callable[[SourceConfig], Collector]


def collectors(log: LogConfig) -> MakeCollector:
    """Return a function that makes the collector of a source. It logs as `log` says."""
    return lambda config: make_collector(config, log.format, log.level)


class Daemon:
    """The exporter: sources, exposition and server."""

    def __init__(
        self,
        config: Config,
        *,
        path: Path | None = None,
        web: WebConfig | None = None,
        make: MakeCollector | None = None,
    ) -> None:
        """`path` is the config file for reloads; None disables them."""
        self._config = config
        self._path = path
        self._web = web
        self._make = make or collectors(config.log)
        self._started = time.time()
        self._reload = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._main = Pulse("the main loop")
        self._reload_wanted = False
        self._report = ConfigReport()
        self._globs = GlobWatch(config)
        self._log = structlog.get_logger(__name__)
        self.scaling = ScalingKeeper(config, lambda: list(self.sources.values()))
        self._own = OwnMetrics(lambda: self.exposition.left_out, lambda: self.scaling.failures)
        self.exposition = Exposition(self._own.render)
        self._thresholds = threshold_table(config)
        self.sources: dict[str, Source] = {}
        for source in config.sources:
            self.sources[source.name] = self._new_source(source)
        self.server: Server | None = None
        self.keda: KedaService | None = None
        self.watch = SourceWatchdog(self._pulses, lambda: list(self.sources.values()))

    def start(self) -> None:
        """Listen and collect. Raises `ServerError` if an address cannot be used."""
        self.server = Server(
            self._config.listen,
            routes(self, reload_endpoint=self._config.reload_endpoint),
            self._web,
            hosts=lambda: self._config.allowed_hosts,
        )
        self.server.start()
        if (keda := self._config.keda) is not None:
            answered = self._own.keda_answered
            self.keda = KedaService(self.scaling.board, keda.listen, keda.tls, answered)
            self.keda.start()
        self.collect()
        port, names = self.server.port, sorted(self.sources)
        self._log.info("daemon.started", version=__version__, port=port, sources=names)
        self._report.report(self._config)

    def run(self) -> None:
        """Start, then serve until `end` is called."""
        self.start()
        self.wait()
        self.stop()

    def wait(self) -> None:
        """Return when `end` is called. Until then, reload when `want_reload` was called."""
        while not self._stopping:
            self._main.beat(time.monotonic(), LOOP_SECONDS, threading.current_thread())
            self._wake.wait(TICK)
            self._wake.clear()
            self._globs.observe(self.sources.values())
            if self._reload_wanted:
                self._reload_wanted = False
                self.reload()
        self._main.end()

    def collect(self) -> None:
        """Collect without listening, and hide values that get too old."""
        for source in self.sources.values():
            source.start()
        self.watch.start()
        self.scaling.start()

    def end(self) -> None:
        """Let `wait` and `run_once` return. Takes a lock, so do not call it in a signal handler."""
        self._stopping = True
        self._wake.set()

    def stop(self) -> bool:
        """Stop tasks and server within a bounded time; return whether all of them ended."""
        until = Until(STOP_SECONDS)
        self.watch.stop()
        self.scaling.stop()
        sources = list(self.sources.values())
        for source in sources:
            source.stop(0.0)
        # In parallel, because each source may have something to clean up, and a scraper may be
        # slow.
        with ThreadPoolExecutor(len(sources) + 2) as threads:
            if self.server is not None:
                threads.submit(self.server.stop, until.remaining())
            if self.keda is not None:
                threads.submit(self.keda.stop, until.remaining())
            ended = list(threads.map(lambda source: source.join(until.remaining()), sources))
        if self.server is not None:
            self._log.info("daemon.stopped", clean=all(ended))
        return all(ended)

    def run_once(self) -> bool:
        """Run each task of each source once; return whether every source could be reached."""
        threads = [
            threading.Thread(target=source.run_once, daemon=True)
            for source in self.sources.values()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive() and not self._stopping:
                thread.join(TICK)
        return all(source.outcomes["backlog"].reached for source in self.sources.values())

    # Reload

    def want_reload(self) -> None:
        """Let `wait` reload the config, once for all calls before it does.

        Takes a lock, so do not call it in a signal handler.
        """
        self._reload_wanted = True
        self._wake.set()

    def reload(self) -> str | None:
        """Reload the config. Unchanged sources keep running.

        Returns the error if the new config is rejected; then the old one stays in use.
        """
        if self._path is None:
            return "no config file to reload"
        if not self._reload.acquire(timeout=RELOAD_SECONDS):
            return "another reload is still in progress"
        try:
            self._apply(load(self._path))
        except ConfigError as error:
            self._log.error("config.refused", error=str(error))
            self._own.config_read(accepted=False)
            return scrub(str(error))
        except Exception as error:  # noqa: BLE001 - a bug here must not end the main loop
            self._log.exception("config.reload_failed")
            self._own.config_read(accepted=False)
            return f"the reload failed: {type(error).__name__}; see the log of the exporter"
        finally:
            self._reload.release()
        self._own.config_read(accepted=True)
        return None

    def _apply(self, config: Config) -> None:
        self._thresholds = threshold_table(config)
        self.scaling.configure(config)
        wanted = {source.name: source for source in config.sources}
        # A source that hangs cannot accept new thresholds. It is replaced as if it had changed.
        kept = [
            name
            for name, source in self.sources.items()
            if wanted.get(name) == source.config
            and source.set_tables(self._thresholds, self.scaling.policies)
        ]
        for name in [name for name in self.sources if name not in kept]:
            before = self.sources.pop(name)
            whole = before.stop()
            after = wanted.get(name)
            same = after is not None and same_place(before.config, after)
            carried = before.carried() if whole and same else None
            if carried is None:
                before.withdraw()
            if after is not None:
                self.sources[name] = self._new_source(after, carried)
                self.sources[name].start()
            threading.Thread(
                target=before.join, args=(before.config.deadline + 5,), daemon=True
            ).start()
        for name, source in wanted.items():
            if name not in self.sources:
                self.sources[name] = self._new_source(source)
                self.sources[name].start()
        self._report.report_change(self._config, config)
        self.scaling.start()
        self._config, self._globs = config, GlobWatch(config)
        self._log.info("config.reloaded", kept=sorted(kept), sources=sorted(self.sources))
        self._report.report(config)

    def _pulses(self) -> list[Pulse]:
        pulses = [self._main, self.watch.pulse, *self.scaling.pulses]
        if self.server is not None:
            pulses.append(self.server.pulse)
        if self.keda is not None:
            pulses.append(self.keda.pulse)
        return pulses

    def _new_source(self, config: SourceConfig, carried: Carried | None = None) -> Source:
        return Source(
            config,
            self._make(config),
            self.exposition,
            started=self._started,
            thresholds=self._thresholds,
            scaling=self.scaling.scaling_of(config),
            board=self.scaling.board,
            carried=carried,
        )

    # Called by the routes

    async def unhealthy(self) -> dict[str, str]:
        """Return the stuck loops. A process that was suspended gets a moment to recover."""
        return await self.watch.unhealthy()

    @property
    def unread(self) -> int:
        """Number of sources that have not been read yet."""
        return sum(not source.tried for source in self.sources.values())

    def overview(self, query: Query = EVERYTHING) -> dict[str, Any]:
        """Return the sources and the selected subscriptions as JSON data, the worst first."""
        sources = list(self.sources.values())
        wanted = Wanted(stale=query.stale)
        selected = select((row for source in sources for row in source.rows(wanted)), query)
        if query.partitions or query.history:
            selected["subscriptions"] = self._with_more(selected["subscriptions"], query)
        now = round(time.time(), 3)
        finish(selected["subscriptions"], query, now)
        return {
            "version": __version__,
            "time": now,
            "sources": [source.status(health=query.health) for source in sources],
            **selected,
            **({"status_meanings": dict(STATUS_MEANINGS)} if query.legend else {}),
        }

    def _with_more(self, rows: list[Row], query: Query) -> list[Row]:
        """Return the same rows with partitions and history, which are too expensive for all."""
        names: dict[str, set[Key]] = {}
        for row in rows:
            names.setdefault(row["source"], set()).add(key_of(row))
        found = {
            (name, key_of(row)): row
            for name, keys in names.items()
            if name in self.sources
            for row in self.sources[name].rows(
                Wanted(query.partitions, query.history, time.time(), keys, query.stale)
            )
        }
        return [found.get((row["source"], key_of(row)), row) for row in rows]
