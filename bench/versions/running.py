"""Runs the load on one version, and takes samples of the exporter's values."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from bench.versions.judging import wrong_at_rest
from bench.versions.records import Records
from bench.versions.samples import Probes, Sample, Watched
from bench.versions.sites import Line, Site
from testbed.exporter import Exporter
from testbed.swinging import SwingingProducer
from testbed.waiting import wait_until

PERIOD = 33.0
"""Period of the load in seconds, between 5 and 75 messages a second. Not a multiple of
`SAMPLE_SECONDS`."""
SAMPLE_SECONDS = 1.0
"""Seconds between two samples."""
WAITING = 25
"""Additional messages that wait at rest."""
PATIENCE = 60.0
"""Seconds until values must be right at rest. RabbitMQ's rates are read every 30 s."""
DRAIN = 60.0
"""Seconds in which consumers must process everything."""
DEFAULTS = {"rate_window": "2m", "schedule": {}}
"""The exporter's defaults."""


class LineAtWork:
    """A line whose consumers run, and whose producer can be started and stopped."""

    def __init__(self, line: Line, stack: ExitStack) -> None:
        self.line = line
        self._sent: list[tuple[bytes, float]] = []
        self.load: list[Sample] = []
        self._since: dict[str, float] = {}
        for consumer in line.consumers:
            stack.enter_context(consumer)
        for _ in range(line.early):
            self._send(b"early")
        wait_until(
            lambda: sum(len(each.processed) for each in line.consumers) >= line.early,
            "the early messages to be processed",
            DRAIN,
        )

    def _send(self, word: bytes) -> None:
        body = b"%s %d" % (word, len(self._sent))
        self._sent.append((body, time.time()))
        self.line.send(body)

    def note(self, sample: Sample) -> None:
        """Note since when there are counters, because rates cover the time since then."""
        for name in ("produced", "consumed"):
            if getattr(sample, name) is not None:
                self._since.setdefault(name, sample.at)

    def begin(self) -> None:
        """Start the load."""
        self._producer = SwingingProducer(self.line.send, PERIOD)
        self._producer.__enter__()

    def rest(self) -> None:
        """Stop the load. Consumers pause, and some messages wait."""
        self._producer.__exit__(None, None, None)
        self._sent += self._producer.sent
        for consumer in self.line.consumers:
            consumer.rate = 0
        for _ in range(WAITING):
            self._send(b"waiting")

    def drain(self) -> None:
        """Stop one consumer, and let the other one work as fast as possible."""
        if self._consumers_at_end < len(self.line.consumers):
            self.line.consumers[-1].stop()
        self.line.consumers[0].rate = None

    def waiting(self) -> int:
        """Return the number of messages that are not processed."""
        return self.records().lag(time.time())

    def records(self) -> Records:
        """Return what the clients have recorded so far."""
        done: dict[bytes, float] = {}
        for consumer in self.line.consumers:
            for each in list(consumer.processed):
                done.setdefault(each.body, each.processed_at)
        return Records.of(self._sent[self.line.early :], done)

    def is_true(self, before: Sample, sample: Sample, *, at_end: bool) -> bool:
        """Return whether a sample taken while nothing moves agrees with the clients."""
        wanted = self._consumers_at_end if at_end else len(self.line.consumers)
        return not wrong_at_rest(sample, before, self.records(), wanted, self.line.limits)

    def watched(self, before: Sample, rest: Sample, end: Sample, probes: Probes) -> Watched:
        """Return everything that is judged."""
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
    """Return the samples and the records of each line."""
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


def _samples(exporter: Exporter, lines: list[LineAtWork]) -> list[Sample]:
    at = time.time()
    page = exporter.scrape()
    return [line.line.names.sample(page, at) for line in lines]


def _first(exporter: Exporter, lines: list[LineAtWork]) -> list[Sample]:
    """Return the first samples with counters of all lines. Missing ones are judged later."""
    until = time.monotonic() + PATIENCE
    while True:
        found = _samples(exporter, lines)
        for line, sample in zip(lines, found, strict=True):
            line.note(sample)
        known = all(None not in (sample.lag, sample.produced, sample.consumed) for sample in found)
        if known or time.monotonic() > until:
            return found
        time.sleep(SAMPLE_SECONDS / 4)


def _watch(exporter: Exporter, lines: list[LineAtWork], seconds: float) -> None:
    until = time.monotonic() + seconds
    while (due := time.monotonic() + SAMPLE_SECONDS) < until:
        for line, sample in zip(lines, _samples(exporter, lines), strict=True):
            line.load.append(sample)
        time.sleep(max(due - time.monotonic(), 0))


def _settle(
    exporter: Exporter, lines: list[LineAtWork], before: list[Sample], *, at_end: bool
) -> list[Sample]:
    """Return for each line the first sample without a fault, or the last one after a timeout."""
    found: dict[int, Sample] = {}
    until = time.monotonic() + PATIENCE
    while True:
        last = _samples(exporter, lines)
        for number, (line, sample) in enumerate(zip(lines, last, strict=True)):
            if number not in found and line.is_true(before[number], sample, at_end=at_end):
                found[number] = sample
        if len(found) == len(lines) or time.monotonic() > until:
            return [found.get(number, sample) for number, sample in enumerate(last)]
        time.sleep(SAMPLE_SECONDS / 2)
