"""The judgement of one subscription: its status, the causes of its backlog, and when it will be drained."""

from __future__ import annotations

import math
from collections.abc import Sequence

from exporter.judgement.baseline import Baseline, Usual
from exporter.judgement.cadence import SLACK
from exporter.judgement.causes import Case, Cause, causes_of
from exporter.judgement.departures import Crowd
from exporter.judgement.evidence import Evidence
from exporter.judgement.recent_events import Recent
from exporter.judgement.repeats import Loop, Repeats
from exporter.judgement.status import Situation, status_of
from exporter.judgement.status_reason import status_reason
from exporter.judgement.thresholds import DEFAULTS, Thresholds
from exporter.judgement.trend import Trend
from exporter.model import Status

HOLD = 4
"""A status changes once it was not the one that the rules give for this part of the window."""
MEMORY = 5
"""Windows after which what is usual, and what happened, fades."""
RARE = 4
"""A position that moves more seldom than this part of the window is measured over two of its own steps."""
CLOCK_STEP = 1.0
"""Seconds by which the clock has to be off before times that were noted are corrected."""
TROUBLED: frozenset[Status] = frozenset(
    {
        *("past_end", "rewound", "abandoned", "stopped", "stalled"),
        *("lagging", "falling_behind", "retry_loop"),
    }
)
"""Statuses that have a cause."""


class Judge:
    """Follows one subscription from look to look. `window` is the rate window, by which all its times go."""

    __slots__ = (
        "_activity",
        "_baseline",
        "_consumed",
        "_crowd",
        "_floor",
        "_given_at",
        "_given_looks",
        "_lag",
        "_looked_at",
        "_looks",
        "_moved_at",
        "_peak",
        "_progress_at",
        "_recent_rewinds",
        "_repeats",
        "_rewinds",
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
        """When the status became this, in Unix time."""
        self._since = 0.0
        """The same on the clock of the looks."""
        self.reason: str | None = None
        """What the status and the causes do not say, in words."""
        self.causes: Sequence[Cause] = ()
        """The likeliest first."""
        self.time_to_drain: float | None = None
        """Seconds; inf where the backlog does not shrink, None where that is not known."""
        self.labels: tuple[str, ...] = ()
        """Label texts of the subscription by status; their owner makes them."""
        self._looks = 0
        self._given_at = 0.0
        self._given_looks = 0
        self._moved_at: float | None = None
        self._progress_at: float | None = None
        self._consumed: int | None = None
        self._activity: int | None = None
        self._rewinds = 0
        self._lag: int | None = None
        self._looked_at: float | None = None
        self._floor: int | None = None
        self._trend: Trend | None = None
        self._baseline = Baseline()
        self._crowd = Crowd()
        self._recent_rewinds = Recent()
        self._repeats = Repeats()
        self._peak: tuple[float, float] | None = None

    def look(self, sight: Evidence, thresholds: Thresholds, window: float) -> None:
        """Take one look."""
        self.thresholds = thresholds
        self._looks += 1
        self._crowd.look(sight.consumers, sight.at, memory=MEMORY * window)
        self._recent_rewinds.look(sight.at, sight.rewinds, MEMORY * window)
        waiting = self._is_waiting(sight)
        still = self._stood_still(sight, window, waiting=waiting)
        trend = self._follow(sight, window)
        loop = self._find_loop(sight, window)
        situation = Situation(
            sight=sight,
            thresholds=thresholds,
            looks=self._looks,
            still=still,
            waiting=waiting,
            low=None if trend is None else trend.low(sight.at, sight.commit_interval),
            growth=None if trend is None else trend.growth(),
            loop=loop,
        )
        given = status_of(situation)
        self._settle(given, sight, window)
        self._date(sight)
        self._learn(given, sight, window)
        self.time_to_drain = self._drain(sight, trend, window)
        has_cause = waiting or sight.past_end > 0 or loop is not None
        self.causes = self._causes(sight, trend, loop, still, window) if has_cause else ()
        self.reason = status_reason(self.status, sight, self._looks)

    @property
    def cause(self) -> str | None:
        """The likeliest cause of the backlog; None where there is none, or nothing speaks for one."""
        return self.causes[0].name if self.causes else None

    def _is_waiting(self, sight: Evidence) -> bool:
        """Whether something is there to process; without a position, what came since the consumers did."""
        if sight.uncommitted is None:
            self._floor = None
            return bool(sight.lag)
        if sight.unassigned:
            return True
        floor = sight.uncommitted if self._floor is None else self._floor
        self._floor = min(sight.uncommitted, floor)
        return bool(sight.lag) or sight.uncommitted > self._floor

    def _stood_still(self, sight: Evidence, window: float, *, waiting: bool) -> float:
        """Return for how many seconds the position has not moved while something waited, as far as it was looked at."""
        if sight.uncounted:
            moved = self._activity is not None and sight.activity != self._activity
        elif sight.consumed is None:
            # Nothing is counted: a backlog that changes may be worked on.
            moved = self._lag is not None and sight.lag is not None and sight.lag != self._lag
        else:
            moved = self._consumed is not None and sight.consumed != self._consumed
        moved = moved or sight.rewinds != self._rewinds
        if moved or self._progress_at is None:
            self._progress_at = sight.at
        if self._moved_at is not None and self._looked_at is not None:
            unseen = sight.at - self._looked_at
            self._moved_at += unseen if unseen > window else 0.0
        self._looked_at = sight.at
        self._lag, self._consumed, self._rewinds = sight.lag, sight.consumed, sight.rewinds
        if sight.uncounted or moved or self._activity is None:
            # What left while deliveries were counted shows at the next look at which they are not.
            self._activity = sight.activity
        if moved or not waiting or self._moved_at is None:
            self._moved_at = sight.at
        return sight.at - self._moved_at

    def _follow(self, sight: Evidence, window: float) -> Trend | None:
        """Keep the trend while there is something to follow."""
        if sight.lag is None:
            return self._trend
        if self._trend is None:
            if not sight.lag:
                return None
            self._trend = Trend()
        self._trend.look(
            sight.at,
            sight.lag,
            sight.consumed or 0,
            sight.produced or 0,
            sight.redelivered,
            moved_at=sight.at if self._moved_at is None else self._moved_at,
            span=max(window, 2 * sight.commit_interval),
        )
        if self._trend.idle:
            self._trend = None
        return self._trend

    def _find_loop(self, sight: Evidence, window: float) -> Loop | None:
        """Return the messages that fail again and again, where what was processed is known."""
        if sight.consumed is None or sight.uncounted:
            return None
        waiting = bool(sight.lag or sight.deferred)
        return self._repeats.look(
            sight.at, sight.consumed, sight.redelivered, waiting=waiting, window=window
        )

    def _settle(self, given: Status, sight: Evidence, window: float) -> None:
        """Change the status once the rules have not given the present one for a while, so that it does not flap."""
        if given == self.status and self.since is not None:
            self._given_at, self._given_looks = sight.at, self._looks
            return
        away = self._looks - self._given_looks
        held = sight.at - self._given_at >= window / HOLD and away > 1
        # What is no longer known is not shown for a while longer.
        if self.since is None or "unknown" in (self.status, given) or held:
            self.status, self._since, self.since = given, sight.at, None
            self._given_at, self._given_looks = sight.at, self._looks

    def _date(self, sight: Evidence) -> None:
        """Set `since` by what the clock says now: it may have been set right, or wrong, in between."""
        since = sight.clock - (sight.at - self._since)
        if self.since is None or abs(since - self.since) > CLOCK_STEP:
            self.since = since

    def _learn(self, given: Status, sight: Evidence, window: float) -> None:
        rates = (sight.produced_rate, sight.consumed_rate)
        if given == "ok":
            if self.status == "ok":
                self._peak = None
                self._crowd.accept(sight.at, memory=MEMORY * window)
            if rates[0] is not None and rates[1] is not None:
                # Who catches up processes more than usual, as everybody does at the first look.
                usual = min(rates[0], rates[1])
                look = Usual(sight.at, rates[0], usual, sight.consumers, sight.size)
                self._baseline.learn(look, delay=window / 2, memory=MEMORY * window)
            return
        self._baseline.pause()
        if rates[0] is not None and (self._peak is None or rates[0] > self._peak[0]):
            self._peak = (rates[0], sight.at)

    def _drain(self, sight: Evidence, trend: Trend | None, window: float) -> float | None:
        """Return lag ÷ (consume rate - produce rate)."""
        if sight.lag is None:
            return None
        if sight.lag == 0:
            return 0.0
        if trend is not None and sight.commit_interval * RARE > window:
            return self._drain_by_steps(sight, trend)
        return _drain(sight.lag, sight.consumed_rate, sight.produced_rate)

    def _drain_by_steps(self, sight: Evidence, trend: Trend) -> float | None:
        """Return the same where the position moves seldom.

        Rates are taken from one step to another, since over a window they would go up and down with each, and what was
        processed since the last step is left out, if the next one is not late.
        """
        at, lag = sight.at, sight.lag or 0
        moved_at = at if self._moved_at is None else self._moved_at
        late = at - moved_at > SLACK * sight.commit_interval
        rates = trend.rates(at, sight.consumed or 0, sight.produced or 0, at if late else moved_at)
        if rates is None:
            return None
        processed = 0.0 if late else rates[0] * min(at - moved_at, sight.commit_interval)
        return _drain(max(lag - processed, 0.0), *rates)

    def _causes(
        self, sight: Evidence, trend: Trend | None, loop: Loop | None, still: float, window: float
    ) -> Sequence[Cause]:
        if self.status not in TROUBLED:
            return ()
        moved = (0, 0)
        if trend is not None:
            moved = trend.moved(sight.consumed or 0, sight.redelivered)
        case = Case(
            sight=sight,
            thresholds=self.thresholds,
            baseline=self._baseline if self._baseline.seconds >= window / 2 else None,
            leaving=self._crowd.leaving,
            still=still,
            idle=0.0 if self._progress_at is None else sight.at - self._progress_at,
            peak=self._peak,
            consumed=moved[0],
            redelivered=moved[1],
            rewinds=self._recent_rewinds.times,
            memory=MEMORY * window,
            replayed=sight.behind_its_place,
            loop=loop,
        )
        return causes_of(case)


def _drain(lag: float, consumed: float | None, produced: float | None) -> float | None:
    if consumed is None or produced is None:
        return None
    return lag / (consumed - produced) if consumed > produced else math.inf
