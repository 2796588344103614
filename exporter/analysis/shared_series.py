"""Series that logs and queues have in common: judgement, losses, method of the age."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Protocol

from exporter.analysis.families import INFINITY, Family, Value, family, with_label
from exporter.analysis.nodes import Labeler
from exporter.judgement.judge import Judge
from exporter.model import STATUSES


class Judged(Protocol):
    """A subscription of either kind."""

    @property
    def label(self) -> str: ...
    @property
    def judge(self) -> Judge: ...


_SCALARS: tuple[tuple[str, Callable[[Judge], Value]], ...] = (
    ("mq_threshold_lag_messages", lambda judge: judge.thresholds.lag_messages),
    ("mq_threshold_lag_seconds", lambda judge: judge.thresholds.lag_seconds),
    ("mq_threshold_consume_ratio", lambda judge: judge.thresholds.consume_ratio),
    ("mq_threshold_stop_seconds", lambda judge: judge.thresholds.stop_seconds),
    ("mq_consumers_expected", lambda judge: int(judge.thresholds.consumers_expected)),
    ("mq_time_to_drain_seconds", lambda judge: shown_seconds(judge.time_to_drain)),
)
METHOD_SERIES = 1
"""An age has one method at a time."""


def judgement_series() -> int:
    """Return the maximum number of series of one judgement. It has one cause at a time."""
    return len(STATUSES) + len(_SCALARS) + 1


def judgement_families(subs: Sequence[Judged]) -> list[Family]:
    """Return the families of the subscriptions' judgements."""
    judged = [sub for sub in subs if sub.judge.labels]
    labels = [sub.label for sub in judged]
    judges = [sub.judge for sub in judged]
    caused = [(sub.label, cause) for sub in judged if (cause := sub.judge.cause) is not None]
    return [
        Family(
            "mq_subscription_status",
            list(chain.from_iterable(judge.labels for judge in judges)),
            [int(judge.status == status) for judge in judges for status in STATUSES],
        ),
        Family(
            "mq_backlog_cause",
            [with_label(label, "cause", cause) for label, cause in caused],
            [1] * len(caused),
        ),
        *(family(name, labels, [value(judge) for judge in judges]) for name, value in _SCALARS),
    ]


def shown_seconds(value: float | None) -> Value:
    """Round seconds to milliseconds. Infinity becomes `INFINITY`."""
    if value is None:
        return None
    return INFINITY if value == math.inf else round(value, 3)


def losses_family(labeler: Labeler, losses: Mapping[str, int]) -> Family:
    """Return the number of subscriptions that disappeared while lagging, by reason."""
    return Family(
        "mq_subscriptions_lost_total",
        [labeler({"reason": reason}) for reason in losses],
        list(losses.values()),
    )
