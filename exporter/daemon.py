"""Wires config, collectors, schedules, state and server; runs until it is told to end."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import structlog

from exporter import __version__
from exporter.analysis.rows import Key, Wanted
from exporter.collectors import COLLECTORS
from exporter.config import Config, ConfigError, Log, load
from exporter.config import Source as SourceConfig
from exporter.exposition import Exposition, accepts_gzip
from exporter.liveness import Pulse
from exporter.model import Collector, Until
from exporter.overview import BadQueryError, Query, Row, key_of, query_of, select
from exporter.own import OwnMetrics
from exporter.page import page_routes
from exporter.scrub import scrub
from exporter.server import Request, Response, Route, Server
from exporter.source import Source
from exporter.states import same_place
from exporter.tables import threshold_table
from exporter.webconfig import WebConfig

STOP_SECONDS = 3.0
"""Time given to the tasks and the server to end; what a broker holds up after that is left behind."""
TICK = 0.5
LOOP_SECONDS = 30.0
"""A loop of the daemon that takes longer to come round is stuck."""
SETTLE_SECONDS = 0.6
"""A process that was stopped for a while gets so long to come round before it is called stuck."""
RELOAD_SECONDS = 30.0
"""How long a reload waits for one that is under way."""
TEXT = "text/plain; charset=utf-8"
GET = frozenset({"GET"})
EVERYTHING = Query()
PACKED_FROM = 4_096
"""Bytes of an answer that are worth compressing."""

MakeCollector = Callable[[SourceConfig], Collector]


def collectors(log: Log) -> MakeCollector:
    """Return a maker of the collector of a source's system; it logs as `log` says."""
    return lambda config: COLLECTORS[config.system](config, log.format, log.level)


class Daemon:
    """The exporter: sources, page and server."""

    def __init__(
        self,
        config: Config,
        *,
        path: Path | None = None,
        web: WebConfig | None = None,
        make: MakeCollector | None = None,
    ) -> None:
        """`path` is where the config is read again from; without it, there is no reload."""
        self._config = config
        self._path = path
        self._web = web
        self._make = make or collectors(config.log)
        self._started = time.time()
        self._reload = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._over = threading.Event()
        """Set when the tasks are ended, and nothing has to be watched any more."""
        self._main = Pulse("the main loop")
        self._watcher = Pulse("the loop that hides old values")
        self._stuck: dict[str, str] = {}
        self._reload_wanted = False
        self._log = structlog.get_logger(__name__)
        self._own = OwnMetrics(lambda: self.exposition.left_out)
        self.exposition = Exposition(self._own.render)
        self._thresholds = threshold_table(config)
        self.sources: dict[str, Source] = {}
        for source in config.sources:
            self.sources[source.name] = self._new_source(source)
        self.server: Server | None = None

    def start(self) -> None:
        """Listen and collect. Raises `ServerError` where the address can't be listened on."""
        self.server = Server(
            self._config.listen,
            self._routes(),
            self._web,
            hosts=lambda: self._config.allowed_hosts,
        )
        self.server.start()
        self.collect()
        self._log.info(
            "daemon.started",
            version=__version__,
            port=self.server.port,
            sources=sorted(self.sources),
        )

    def run(self) -> None:
        """Start, then serve until `end` is called; `want_reload` reads the config again."""
        self.start()
        self.wait()
        self.stop()

    def wait(self) -> None:
        """Return when `end` is called; until then, reload when `want_reload` was called."""
        while not self._stopping:
            self._main.beat(time.monotonic(), LOOP_SECONDS, threading.current_thread())
            self._wake.wait(TICK)
            self._wake.clear()
            if self._reload_wanted:
                self._reload_wanted = False
                self.reload()
        self._main.end()

    def collect(self) -> None:
        """Collect without listening, and hide what grows too old."""
        for source in self.sources.values():
            source.start()
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def end(self) -> None:
        """Let `wait` and `run_once` return. Not for a signal handler: it takes a lock."""
        self._stopping = True
        self._wake.set()

    def stop(self) -> bool:
        """End the tasks and the server within a bounded time; tell whether all of them ended."""
        until = Until(STOP_SECONDS)
        self._over.set()
        sources = list(self.sources.values())
        for source in sources:
            source.stop(0.0)
        # Side by side, since each may have something to clean up, and a scraper may be slow.
        with ThreadPoolExecutor(len(sources) + 1) as threads:
            if self.server is not None:
                threads.submit(self.server.stop, until.remaining())
            ended = list(threads.map(lambda source: source.join(until.remaining()), sources))
        if self.server is not None:
            self._log.info("daemon.stopped", clean=all(ended))
        return all(ended)

    def run_once(self) -> bool:
        """Run each task of each source once; tell whether every source could be reached."""
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

    # Liveness

    def faults(self) -> dict[str, str]:
        """Return the loops that do not go on: what each is, and what is wrong with it."""
        now = time.monotonic()
        pulses = [self._main, self._watcher]
        if self.server is not None:
            pulses.append(self.server.pulse)
        found = {pulse.name: pulse.fault(now) for pulse in pulses}
        for source in list(self.sources.values()):
            found.update(source.faults(now))
        return {name: fault for name, fault in found.items() if fault is not None}

    def _watch(self) -> None:
        """Hide what grows too old, whatever the main loop and the tasks do."""
        while not self._over.is_set():
            self._watcher.beat(time.monotonic(), LOOP_SECONDS, threading.current_thread())
            for source in list(self.sources.values()):
                try:
                    source.expire()
                except Exception:  # noqa: BLE001 - the others are hidden in time all the same
                    self._log.exception("source.expire_failed", source=source.config.name)
            self._report_faults()
            self._over.wait(TICK)
        self._watcher.end()

    def _report_faults(self) -> None:
        """Log each loop that is stuck, once, and when it goes on."""
        faults = self.faults()
        for name in faults.keys() - self._stuck.keys():
            self._log.error("loop.stuck", loop=name, error=faults[name])
        for name in self._stuck.keys() - faults.keys():
            self._log.warning("loop.goes_on", loop=name)
        self._stuck = faults

    # Reload

    def want_reload(self) -> None:
        """Let `wait` read the config again, once for all calls that come before it does. Not for a signal handler."""
        self._reload_wanted = True
        self._wake.set()

    def reload(self) -> str | None:
        """Read the config again: sources that did not change go on untouched.

        Returns why the new config is refused, where it is; then the old one goes on.
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
        except Exception as error:  # noqa: BLE001 - a bug in here must not end the main loop
            self._log.exception("config.reload_failed")
            self._own.config_read(accepted=False)
            return f"the reload failed: {type(error).__name__}; see the log of the exporter"
        finally:
            self._reload.release()
        self._own.config_read(accepted=True)
        return None

    def _apply(self, config: Config) -> None:
        self._thresholds = threshold_table(config)
        wanted = {source.name: source for source in config.sources}
        # A source that hangs cannot take the thresholds; it is replaced as if it had changed.
        kept = [
            name
            for name, source in self.sources.items()
            if wanted.get(name) == source.config and source.set_thresholds(self._thresholds)
        ]
        for name in [name for name in self.sources if name not in kept]:
            before = self.sources.pop(name)
            whole = before.stop()
            after = wanted.get(name)
            same = after is not None and same_place(before.config, after)
            heir = before if whole and same else None
            if heir is None:
                before.withdraw()
            if after is not None:
                self.sources[name] = self._new_source(after, heir)
                self.sources[name].start()
            threading.Thread(
                target=before.join, args=(before.config.deadline + 5,), daemon=True
            ).start()
        for name, source in wanted.items():
            if name not in self.sources:
                self.sources[name] = self._new_source(source)
                self.sources[name].start()
        if config.listen != self._config.listen:
            self._log.warning("config.needs_restart", key="listen", in_force=self._config.listen)
        self._config = config
        self._log.info("config.reloaded", kept=sorted(kept), sources=sorted(self.sources))

    def _new_source(self, config: SourceConfig, heir: Source | None = None) -> Source:
        return Source(
            config,
            self._make(config),
            self.exposition,
            started=self._started,
            thresholds=self._thresholds,
            heir_of=heir,
        )

    # HTTP

    def _routes(self) -> list[Route]:
        routes = [
            *page_routes(),
            Route("/metrics", GET, self._metrics),
            Route("/api/v1/subscriptions", GET, self._subscriptions),
            # Public: whoever starts the process must see whether it lives, without its passwords.
            Route("/-/healthy", GET, self._healthy, public=True),
            Route("/-/ready", GET, self._ready, public=True),
        ]
        if self._config.reload_endpoint:
            post = frozenset({"POST"})
            routes.append(Route("/-/reload", post, self._post_reload, lane="reload"))
        return routes

    async def _metrics(self, request: Request) -> Response:
        headers = request.headers
        page = self.exposition.page(headers.get("accept", ""), headers.get("accept-encoding", ""))
        extra: tuple[tuple[str, str], ...] = (("Vary", "Accept, Accept-Encoding"),)
        if page.encoding is not None:
            extra += (("Content-Encoding", page.encoding),)
        return Response(200, page.content_type, page.chunks, extra)

    async def _healthy(self, _: Request) -> Response:
        faults = self.faults()
        if faults:
            await asyncio.sleep(SETTLE_SECONDS)
            faults = self.faults()
        if faults:
            lines = "".join(f"{name}: {fault}\n" for name, fault in sorted(faults.items()))
            return Response(503, TEXT, [f"unhealthy\n{lines}".encode()])
        return Response(200, TEXT, [b"healthy\n"])

    async def _ready(self, _: Request) -> Response:
        waiting = [name for name, source in self.sources.items() if not source.tried]
        if waiting:
            return Response(503, TEXT, [f"{len(waiting)} sources not read yet\n".encode()])
        return Response(200, TEXT, [b"ready\n"])

    def _subscriptions(self, request: Request) -> Response:
        try:
            query = query_of(request.query)
        except BadQueryError as error:
            return Response(400, TEXT, [f"{error}\n".encode()])
        text = json.dumps(self.overview(query), ensure_ascii=False, separators=(",", ":"))
        body = text.encode("utf-8", "backslashreplace")
        headers: tuple[tuple[str, str], ...] = (
            ("Cache-Control", "no-store"),
            ("Vary", "Accept-Encoding"),
        )
        if len(body) > PACKED_FROM and accepts_gzip(request.headers.get("accept-encoding", "")):
            body = gzip.compress(body, 1)
            headers += (("Content-Encoding", "gzip"),)
        return Response(200, "application/json", [body], headers)

    def _post_reload(self, _: Request) -> Response:
        refused = self.reload()
        if refused is not None:
            return Response(500, TEXT, [f"{refused}\n".encode()])
        return Response(200, TEXT, [b"reloaded\n"])

    def overview(self, query: Query = EVERYTHING) -> dict[str, Any]:
        """Return sources and the wanted subscriptions, worst first, JSON-ready."""
        sources = list(self.sources.values())
        selected = select((row for source in sources for row in source.rows()), query)
        if query.partitions or query.history:
            selected["subscriptions"] = self._with_more(selected["subscriptions"], query)
        return {
            "version": __version__,
            "time": round(time.time(), 3),
            "sources": [source.status() for source in sources],
            **selected,
        }

    def _with_more(self, rows: list[Row], query: Query) -> list[Row]:
        """Return the same rows with partitions and history, which are too much to look up for all of them."""
        names: dict[str, set[Key]] = {}
        for row in rows:
            names.setdefault(row["source"], set()).add(key_of(row))
        found = {
            (name, key_of(row)): row
            for name, keys in names.items()
            if name in self.sources
            for row in self.sources[name].rows(
                Wanted(query.partitions, query.history, time.time(), keys)
            )
        }
        return [found.get((row["source"], key_of(row)), row) for row in rows]
