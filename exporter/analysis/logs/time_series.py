"""Series of a log source about time: ages, latencies, time to loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

from exporter.analysis.families import Family, Value, View, family, flat, with_label
from exporter.analysis.logs.state import LogState
from exporter.analysis.logs.subscription import LogSubscription
from exporter.analysis.logs.topic import LogTopic
from exporter.analysis.shared_series import METHOD_SERIES, shown_seconds

SCALARS: tuple[tuple[str, Callable[[LogSubscription], Value]], ...] = (
    ("mq_lag_seconds_uncertainty", lambda sub: sub.ages.uncertainty),
    ("mq_time_to_loss_seconds", lambda sub: shown_seconds(sub.time_to_loss)),
)

TOPIC_SCALARS: tuple[tuple[str, Callable[[LogTopic], Value]], ...] = (
    ("mq_message_size_bytes", lambda topic: topic.size.mean),
)
AGES_OF_A_POSITION = 1
"""`mq_lag_seconds`."""


def time_series_of_a_subscription() -> int:
    """Return the maximum number of series of a subscription, without ages and histogram."""
    return len(SCALARS) + METHOD_SERIES


def time_series_of_a_topic() -> int:
    """Return the maximum number of series of a topic."""
    return len(TOPIC_SCALARS)


def show_times(state: LogState, view: View) -> Sequence[Family]:
    """Return the series of the exposed subscriptions from the last poll of enqueue times."""
    subs = [sub for sub in state.subscriptions.values() if sub.shown]
    labels = [sub.label for sub in subs]
    followed = [sub.latency for sub in subs if sub.latency is not None]
    sized = list(dict.fromkeys(sub.topic for sub in subs))
    return [
        *(
            family(name, [topic.label for topic in sized], [value(topic) for topic in sized])
            for name, value in TOPIC_SCALARS
        ),
        family(
            "mq_lag_seconds",
            list(chain.from_iterable(sub.ages.labels for sub in subs)),
            flat(sub.ages.values for sub in subs),
        )
        if view.per_partition
        else family("mq_lag_seconds", labels, [sub.ages.largest() for sub in subs]),
        *(family(name, labels, [value(sub) for sub in subs]) for name, value in SCALARS),
        Family(
            "mq_lag_seconds_method",
            [
                with_label(sub.label, "method", sub.ages.method)
                for sub in subs
                if sub.ages.method is not None
            ],
            [1 for sub in subs if sub.ages.method is not None],
        ),
        Family(
            "mq_latency_seconds",
            list(chain.from_iterable(histogram.labels for histogram in followed)),
            flat(histogram.values() for histogram in followed),
        ),
        Family(
            "mq_timestamp_anomalies_total",
            [state.labeler({"kind": kind}) for kind in state.timestamp_anomalies],
            list(state.timestamp_anomalies.values()),
        ),
    ]
