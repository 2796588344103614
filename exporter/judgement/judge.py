"""The judgement of one subscription: its status, the causes of its backlog, its time to drain."""

from __future__ import annotations

import math
from collections.abc import Sequence

from exporter.judgement.baseline import Baseline, HealthyPoll
from exporter.judgement.case import Case, Cause
from exporter.judgement.causes import causes_of
from exporter.judgement.commit_gaps import SLACK
from exporter.judgement.departures import ConsumerCount
from exporter.judgement.evidence import Evidence
from exporter.judgement.progress import ConsumerProgress
from exporter.judgement.recent_events import RecentEvents
from exporter.judgement.repeats import Repeats, RetryLoop
from exporter.judgement.rest import REST_SECONDS, RestFacts, facts_at_rest
from exporter.judgement.status import Situation, status_of
from exporter.judgement.status_reason import status_reason
from exporter.judgement.thresholds import DEFAULTS, Thresholds
from exporter.judgement.trend import Trend
from exporter.model import FOREVER, Status

HYSTERESIS = 4
"""A status changes after the rules have not returned it for the window divided by this."""
MEMORY = 5
"""Number of windows after which the usual rates and past events have lost their weight."""
RARE = 4
"""If the position moves less often than the window divided by this, rates are measured from one
movement to another."""
CLOCK_STEP = 1.0
"""Stored times are corrected if the system clock was set by more than this many seconds."""
TROUBLED: frozenset[Status] = frozenset(
    {
        *("past_end", "rewound", "abandoned", "stopped", "stalled"),
        *("lagging", "falling_behind", "retry_loop"),
    }
)
"""Statuses that have a cause."""


class Judge:
    """Judges one subscription at every poll. `window` is the rate window in seconds."""

    __slots__ = (
        "_baseline",
        "_consumer_count",
        "_floor",
        "_given_at",
        "_given_polls",
        "_judged_at",
        "_peak",
        "_polls",
        "_progress",
        "_recent_rewinds",
        "_repeats",
        "_rest",
        "_since",
        "_trend",
        "causes",
        "labels",
        "reason",
        "since",
        "status",
        "thresholds",
        "time_to_drain",
    )

    def __init__(self) -> None:
        self.thresholds: Thresholds = DEFAULTS
        self.status: Status = "unknown"
        self.since: float | None = None
        """When the status changed to the present one, in Unix time."""
        self._since = 0.0
        """The same on the clock of the polls."""
        self.reason: str | None = None
        """A sentence with what the status and the causes do not say."""
        self.causes: Sequence[Cause] = ()
        """The likeliest first."""
        self.time_to_drain: float | None = None
        """Seconds; inf if the backlog does not shrink, None if unknown."""
        self.labels: tuple[str, ...] = ()
        """Label texts of the subscription by status, set by the owner."""
        self._polls = 0
        self._given_at, self._given_polls = 0.0, 0
        self._progress = ConsumerProgress()
        self._floor: int | None = None
        self._trend: Trend | None = None
        self._baseline = Baseline()
        self._consumer_count = ConsumerCount()
        self._recent_rewinds = RecentEvents()
        self._repeats = Repeats()
        self._peak: tuple[float, float] | None = None
        self._judged_at = 0.0
        self._rest: RestFacts | None = None
        """The facts, if the next judgement is the same as long as nothing happens."""

    def observe(self, evidence: Evidence, thresholds: Thresholds, window: float) -> None:
        """Judge one poll."""
        self.thresholds = thresholds
        self._polls += 1
        self._consumer_count.observe(evidence.consumers, evidence.at, memory=MEMORY * window)
        self._recent_rewinds.observe(evidence.at, evidence.rewinds, MEMORY * window)
        waiting = self._is_waiting(evidence)
        still = self._progress.observe(evidence, window, waiting=waiting)
        trend = self._follow(evidence, window)
        loop = self._find_loop(evidence, window)
        situation = Situation(
            evidence=evidence,
            thresholds=thresholds,
            polls=self._polls,
            still=still,
            waiting=waiting,
            low=None if trend is None else trend.low(evidence.at, evidence.commit_interval),
            growth=None if trend is None else trend.growth(),
            dormant=self._progress.dormant,
            loop=loop,
        )
        given = status_of(situation)
        self._settle(given, evidence, window)
        self._date(evidence.at, evidence.clock)
        self._learn(given, evidence, window)
        self.time_to_drain = self._drain(evidence, trend, window)
        has_cause = waiting or evidence.past_end > 0 or loop is not None
        self.causes = self._causes(evidence, trend, loop, still, window) if has_cause else ()
        self.reason = status_reason(self.status, evidence, self._polls)
        self._judged_at = evidence.at
        settled = self.status == given and loop is None
        self._rest = facts_at_rest(given, evidence) if settled else None

    def rests(self, at: float, told_at: float) -> bool:
        """Return whether `rest` is enough if nothing moved. Consumers are known to `told_at`."""
        return self._rest is not None and max(told_at, at - REST_SECONDS) <= self._judged_at

    def rest(self, at: float, clock: float, window: float) -> None:
        """Add a poll that found the same facts as the last judged one; only time has passed."""
        self._polls += 1
        if self._rest is not None:
            facts = self._rest._replace(at=at)
            self._progress.rest(at, window, waiting=bool(facts.lag))
            self._follow(facts, window)
            self._learn(self.status, facts, window)
        self._given_at, self._given_polls = at, self._polls
        self._date(at, clock)

    def wake(self) -> None:
        """Judge the next poll: the thresholds are different."""
        self._rest = None

    @property
    def cause(self) -> str | None:
        """The likeliest cause of the backlog; None if there is no backlog or no rule matches."""
        return self.causes[0].name if self.causes else None

    def _is_waiting(self, evidence: Evidence) -> bool:
        """Return whether messages wait.

        Without a committed offset: whether messages came since the consumers did.
        """
        if evidence.uncommitted is None:
            self._floor = None
            return bool(evidence.lag)
        if evidence.unassigned:
            return True
        floor = evidence.uncommitted if self._floor is None else self._floor
        self._floor = min(evidence.uncommitted, floor)
        return bool(evidence.lag) or evidence.uncommitted > self._floor

    def _follow(self, evidence: Evidence | RestFacts, window: float) -> Trend | None:
        """Keep the trend while there is a backlog."""
        if evidence.lag is None:
            return self._trend
        if self._trend is None:
            if not evidence.lag:
                return None
            self._trend = Trend()
        self._trend.observe(
            evidence.at,
            evidence.lag,
            evidence.consumed or 0,
            evidence.produced or 0,
            evidence.redelivered,
            moved_at=self._progress.moved_at,
            span=max(window, 2 * evidence.commit_interval),
        )
        if self._trend.idle:
            self._trend = None
        return self._trend

    def _find_loop(self, evidence: Evidence, window: float) -> RetryLoop | None:
        """Return the messages that fail repeatedly, if processed messages are counted."""
        if evidence.consumed is None or evidence.uncounted:
            return None
        waiting = bool(evidence.lag or evidence.deferred)
        return self._repeats.observe(
            evidence.at, evidence.consumed, evidence.redelivered, waiting=waiting, window=window
        )

    def _settle(self, given: Status, evidence: Evidence, window: float) -> None:
        """Change the status if the rules did not return it for a while, to avoid flapping."""
        if given == self.status and self.since is not None:
            self._given_at, self._given_polls = evidence.at, self._polls
            return
        away = self._polls - self._given_polls
        is_over = evidence.at - self._given_at >= window / HYSTERESIS and away > 1
        # A change from or to `unknown` is shown immediately.
        if self.since is None or "unknown" in (self.status, given) or is_over:
            self.status, self._since, self.since = given, evidence.at, None
            self._given_at, self._given_polls = evidence.at, self._polls

    def _date(self, at: float, clock: float) -> None:
        """Set `since` by the present clock, which may have been set in between."""
        since = clock - (at - self._since)
        if self.since is None or abs(since - self.since) > CLOCK_STEP:
            self.since = since

    def _learn(self, given: Status, evidence: Evidence | RestFacts, window: float) -> None:
        rates = (evidence.produced_rate, evidence.consumed_rate)
        if given == "ok":
            if self.status == "ok":
                self._peak = None
                self._consumer_count.accept(evidence.at, memory=MEMORY * window)
            if rates[0] is not None and rates[1] is not None:
                # Consumers that catch up process more than usual. At the first poll all of them do.
                usual = min(rates[0], rates[1])
                healthy = HealthyPoll(
                    evidence.at, rates[0], usual, evidence.consumers, evidence.size
                )
                self._baseline.learn(healthy, delay=window / 2, memory=MEMORY * window)
            return
        self._baseline.pause()
        if rates[0] is not None and (self._peak is None or rates[0] > self._peak[0]):
            self._peak = (rates[0], evidence.at)

    def _drain(self, evidence: Evidence, trend: Trend | None, window: float) -> float | None:
        """Return lag / (consume rate - produce rate) in seconds."""
        if evidence.lag is None:
            return None
        if evidence.lag == 0:
            return 0.0
        if trend is not None and evidence.commit_interval * RARE > window:
            return self._drain_by_steps(evidence, trend)
        return _drain(evidence.lag, evidence.consumed_rate, evidence.produced_rate)

    def _drain_by_steps(self, evidence: Evidence, trend: Trend) -> float | None:
        """Return the same for a position that rarely moves.

        Rates are measured from one movement to another: over a window they would rise and fall with
        each movement. Messages processed since the last movement are subtracted, unless the next
        movement is late.
        """
        at, lag = evidence.at, evidence.lag or 0
        moved_at = self._progress.moved_at
        late = at - moved_at > SLACK * evidence.commit_interval
        rates = trend.rates(
            at, evidence.consumed or 0, evidence.produced or 0, at if late else moved_at
        )
        if rates is None:
            return None
        processed = 0.0 if late else rates[0] * min(at - moved_at, evidence.commit_interval)
        return _drain(max(lag - processed, 0.0), *rates)

    def _causes(
        self,
        evidence: Evidence,
        trend: Trend | None,
        loop: RetryLoop | None,
        still: float,
        window: float,
    ) -> Sequence[Cause]:
        if self.status not in TROUBLED:
            return ()
        moved = (0, 0)
        if trend is not None:
            moved = trend.moved(evidence.consumed or 0, evidence.redelivered)
        case = Case(
            evidence=evidence,
            thresholds=self.thresholds,
            baseline=self._baseline if self._baseline.seconds >= window / 2 else None,
            departure=self._consumer_count.departure,
            still=still,
            idle=evidence.at - self._progress.progress_at,
            peak=self._peak,
            consumed=moved[0],
            redelivered=moved[1],
            rewinds=self._recent_rewinds.times,
            memory=MEMORY * window,
            replayed=evidence.is_rewound,
            loop=loop,
        )
        return causes_of(case)


def _drain(lag: float, consumed: float | None, produced: float | None) -> float | None:
    if consumed is None or produced is None:
        return None
    seconds = lag / (consumed - produced) if consumed > produced else math.inf
    return seconds if seconds < FOREVER else math.inf
