"""Runs the load on one version, and notes what the exporter says meanwhile."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from bench.versions.judging import wrong_at_rest
from bench.versions.looks import Look, Probes, Watched
from bench.versions.records import Records
from bench.versions.sites import Line, Site
from testbed.exporter import Exporter
from testbed.swinging import SwingingProducer
from testbed.waiting import wait_until

PERIOD = 33.0
"""Seconds of one swing of the load, between 5 and 75 messages a second; no multiple of a look."""
LOOK = 1.0
"""Seconds between two looks at the page."""
WAITING = 25
"""Messages more that wait at rest."""
PATIENCE = 60.0
"""Seconds for the page to become true at rest: RabbitMQ's rates are read every 30 s."""
DRAIN = 60.0
"""Seconds for consumers to process everything."""
DEFAULTS = {"rate_window": "2m", "schedule": {}}
"""The exporter's defaults."""


class LineAtWork:
    """A line whose consumers run, and whose producer can be started and ended."""

    def __init__(self, line: Line, stack: ExitStack) -> None:
        self.line = line
        self._sent: list[tuple[bytes, float]] = []
        self.load: list[Look] = []
        self._since: dict[str, float] = {}
        for consumer in line.consumers:
            stack.enter_context(consumer)
        for _ in range(line.early):
            self._send(b"early")
        if line.early:
            line.consumers[0].wait_processed(line.early)

    def _send(self, word: bytes) -> None:
        body = b"%s %d" % (word, len(self._sent))
        self._sent.append((body, time.time()))
        self.line.send(body)

    def note(self, look: Look) -> None:
        """Remember since when there are counters: rates are of the time since then."""
        for name in ("produced", "consumed"):
            if getattr(look, name) is not None:
                self._since.setdefault(name, look.at)

    def begin(self) -> None:
        """Let the load begin."""
        self._producer = SwingingProducer(self.line.send, PERIOD)
        self._producer.__enter__()

    def rest(self) -> None:
        """End the load; consumers do nothing, and some messages wait."""
        self._producer.__exit__(None, None, None)
        self._sent += self._producer.sent
        for consumer in self.line.consumers:
            consumer.rate = 0
        for _ in range(WAITING):
            self._send(b"waiting")

    def drain(self) -> None:
        """Let one consumer leave, and the other one work as quickly as it can."""
        if self._consumers_at_end < len(self.line.consumers):
            self.line.consumers[-1].stop()
        self.line.consumers[0].rate = None

    def waiting(self) -> int:
        """How many messages there are that nobody has processed."""
        return self.records().lag(time.time())

    def records(self) -> Records:
        """Return what the clients wrote down so far."""
        done: dict[bytes, float] = {}
        for consumer in self.line.consumers:
            for each in list(consumer.processed):
                done.setdefault(each.body, each.processed_at)
        return Records.of(self._sent[self.line.early :], done)

    def is_true(self, before: Look, look: Look, *, at_end: bool) -> bool:
        """Tell whether a look at something that does not move says what the clients know."""
        wanted = self._consumers_at_end if at_end else len(self.line.consumers)
        return not wrong_at_rest(look, before, self.records(), wanted, self.line.limits)

    def watched(self, before: Look, rest: Look, end: Look, probes: Probes) -> Watched:
        """Return everything that is to be judged."""
        return Watched(
            kind=self.line.kind,
            records=self.records(),
            before=before,
            since=self._since,
            load=self.load,
            rest=rest,
            end=end,
            consumers=len(self.line.consumers),
            consumers_at_end=self._consumers_at_end,
            probes=probes,
            limits=self.line.limits,
        )

    @property
    def _consumers_at_end(self) -> int:
        return max(1, len(self.line.consumers) - 1)


def run(site: Site, folder: Path) -> list[Watched]:
    """Return what was seen of each line, and what was so."""
    with ExitStack() as stack:
        lines = [LineAtWork(line, stack) for line in site.lines]
        exporter = stack.enter_context(Exporter(folder, [site.source], defaults=DEFAULTS))
        started = time.time()
        before = _first(exporter, lines)
        for line in lines:
            line.begin()
        _watch(exporter, lines, site.load_seconds)
        for line in lines:
            line.rest()
        rest = _settle(exporter, lines, before, at_end=False)
        for line in lines:
            line.drain()
        wait_until(lambda: not any(map(LineAtWork.waiting, lines)), "all to be consumed", DRAIN)
        end = _settle(exporter, lines, before, at_end=True)
        probes = Probes.of(exporter.scrape(), time.time() - started)
        return [
            line.watched(before[number], rest[number], end[number], probes)
            for number, line in enumerate(lines)
        ]


def _looks(exporter: Exporter, lines: list[LineAtWork]) -> list[Look]:
    at = time.time()
    page = exporter.scrape()
    return [line.line.names.look(page, at) for line in lines]


def _first(exporter: Exporter, lines: list[LineAtWork]) -> list[Look]:
    """The first looks with the counters of all lines; what is missing after a while is judged later."""
    until = time.monotonic() + PATIENCE
    while True:
        found = _looks(exporter, lines)
        for line, look in zip(lines, found, strict=True):
            line.note(look)
        known = all(None not in (look.lag, look.produced, look.consumed) for look in found)
        if known or time.monotonic() > until:
            return found
        time.sleep(LOOK / 4)


def _watch(exporter: Exporter, lines: list[LineAtWork], seconds: float) -> None:
    until = time.monotonic() + seconds
    while (due := time.monotonic() + LOOK) < until:
        for line, look in zip(lines, _looks(exporter, lines), strict=True):
            line.load.append(look)
        time.sleep(max(due - time.monotonic(), 0))


def _settle(
    exporter: Exporter, lines: list[LineAtWork], before: list[Look], *, at_end: bool
) -> list[Look]:
    """Of each line the first look with which nothing is wrong, or the last one when there was none in time."""
    found: dict[int, Look] = {}
    until = time.monotonic() + PATIENCE
    while True:
        last = _looks(exporter, lines)
        for number, (line, look) in enumerate(zip(lines, last, strict=True)):
            if number not in found and line.is_true(before[number], look, at_end=at_end):
                found[number] = look
        if len(found) == len(lines) or time.monotonic() > until:
            return [found.get(number, look) for number, look in enumerate(last)]
        time.sleep(LOOK / 2)
