"""Simulates a consumer, polls it, and keeps the judgements."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from exporter.analysis.rates import CounterTable
from exporter.judgement.case import Cause
from exporter.judgement.commit_gaps import CommitGaps
from exporter.judgement.evidence import Evidence
from exporter.judgement.judge import Judge
from exporter.judgement.repeated_commits import RepeatedCommits
from exporter.judgement.thresholds import DEFAULTS, Thresholds
from exporter.model import Status

POLL = 10.0
WINDOW = 120.0
EPOCH = 1_700_000_000.0
"""14 November 2023, 22:13:20 UTC: the clock at second 0."""

Story = Callable[[float], float]


@dataclass(frozen=True)
class Said:
    """The judgement at one poll."""

    at: float
    status: Status
    causes: Sequence[Cause]
    drain: float | None
    lag: int
    produced: int

    @property
    def cause(self) -> str | None:
        return self.causes[0].name if self.causes else None


@dataclass
class Play:
    """A consumer: produce rate and maximum consume rate by time, and how often it commits."""

    comes: Story
    takes: Story
    commits_every: float = 5.0
    consumers: Callable[[float], int | None] = lambda _: 1
    thresholds: Thresholds = DEFAULTS
    starts_with: int = 0
    """Messages that wait at second 0."""
    poll: float = POLL
    more: Callable[[float], dict[str, Any]] = lambda _: {}
    """Other fields of the evidence, by time."""
    alive: Callable[[float], bool] = lambda _: True
    """Whether the consumer commits at all, even if the offset did not change."""
    follows_commits: bool = False
    """Whether commits that do not move the offset are known, as with `offsets: stream`."""
    judge: Judge = field(default_factory=Judge)
    commits: list[tuple[float, int, int]] = field(default_factory=list)
    """Time, offset and lag of each commit, as in the broker's commit log."""

    def run(self, seconds: float) -> list[Said]:
        """Run the simulation. The first poll is at second 0."""
        return list(self._polls(seconds))

    def _polls(self, seconds: float) -> Iterator[Said]:
        produced_table, consumed_table = CounterTable(WINDOW), CounterTable(WINDOW)
        produced_slot, consumed_slot = produced_table.allocate(0.0), consumed_table.allocate(0.0)
        gaps = CommitGaps()
        gaps.configured = self.thresholds.stop_seconds or 300.0
        produced = processed = 0.0
        committed, committed_at, known = 0, 0.0, 0
        repeated, repeats = False, None
        step = 1.0
        at = 0.0
        while at <= seconds:
            if at % self.poll == 0:
                waiting = self.starts_with + int(produced) - committed
                produced_table.values[produced_slot] = int(produced)
                consumed_table.values[consumed_slot] = committed
                produced_table.sample(at)
                consumed_table.sample(at)
                gaps.observe(at, moved=committed > known, waiting=waiting > 0)
                if committed > known or not waiting:
                    repeats = None
                if repeated and waiting and self.follows_commits:
                    if repeats is None:
                        repeats = RepeatedCommits(at)
                    else:
                        repeats.observe(at)
                known, repeated = committed, False
                facts = {
                    "at": at,
                    "clock": EPOCH + at,
                    "lag": waiting,
                    "age": None,
                    "commit_interval": gaps.longest,
                    "stop": gaps.stop,
                    "consumed": committed,
                    "produced": int(produced),
                    "redelivered": 0,
                    "rewinds": 0,
                    "consumed_rate": consumed_table.rates[consumed_slot],
                    "produced_rate": produced_table.rates[produced_slot],
                    "consumers": self.consumers(at),
                    "usual_gap": gaps.usual,
                    "repeated_for": None if repeats is None else repeats.seconds(at),
                    **self.more(at),
                }
                self.judge.observe(Evidence(**facts), self.thresholds, WINDOW)
                judge = self.judge
                yield Said(
                    at, judge.status, judge.causes, judge.time_to_drain, waiting, int(produced)
                )
            produced += self.comes(at) * step
            room = self.starts_with + produced - processed
            processed += min(self.takes(at) * step, room)
            at += step
            if at - committed_at >= self.commits_every and self.alive(at):
                repeated = int(processed) == committed
                committed, committed_at = int(processed), at
                lag = self.starts_with + int(produced) - committed
                self.commits.append((at, committed, lag))


def first(said: Sequence[Said], status: Status) -> float | None:
    """Return when the status occurred for the first time."""
    return next((each.at for each in said if each.status == status), None)


def changes(said: Sequence[Said]) -> list[tuple[float, Status]]:
    """Return each change of the status with its time."""
    found: list[tuple[float, Status]] = []
    for each in said:
        if not found or found[-1][1] != each.status:
            found.append((each.at, each.status))
    return found


def steady(rate: float) -> Story:
    return lambda _: rate


def between(start: float, end: float, inside: float, outside: float) -> Story:
    """One rate from `start` to `end`, another one otherwise."""
    return lambda at: inside if start <= at < end else outside
