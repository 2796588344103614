"""Links of a subscription: runbooks, and the path of its Grafana dashboard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from exporter.show.wording import loses_soon

RUNBOOKS = "https://github.com/mq-lag-exporter/mq-lag-exporter/blob/main/docs/runbooks/"
BY_STATUS: Mapping[str, str] = {
    "past_end": "MqPositionPastEnd",
    "rewound": "MqOffsetsRewound",
    "stopped": "MqNoConsumers",
    "stalled": "MqStalled",
    "retry_loop": "MqRedeliveryLoop",
    "falling_behind": "MqConsumeRateLow",
}
BY_CAUSE: Mapping[str, str] = {
    "past_end": "MqPositionPastEnd",
    "no_consumers": "MqNoConsumers",
    "rebalancing": "MqRebalanceStorm",
    "retry_loop": "MqRedeliveryLoop",
}
NAMES = ("system", "source", "vhost", "destination", "group")


def links(row: dict[str, Any]) -> dict[str, Any]:
    """Return the runbooks, the most useful first, and the path of the Grafana dashboard."""
    names = dict.fromkeys(_runbooks(row))
    variables = {f"var-{name}": row[name] or "" for name in NAMES}
    return {
        "runbooks": [{"name": name, "url": f"{RUNBOOKS}{name}.md"} for name in names],
        "dashboard": f"/d/mq-subscription?{urlencode(variables, errors='replace')}",
    }


def _runbooks(row: dict[str, Any]) -> Iterator[str]:
    if row.get("stale"):
        yield "MqSourceDown"
    if loses_soon(row):
        yield "MqWillLoseMessages"
    status, cause = row["status"], row["cause"]
    if status == "lagging":
        yield _past_threshold(row)
    if status in BY_STATUS:
        yield BY_STATUS[status]
    if cause in BY_CAUSE:
        yield BY_CAUSE[cause]
    if row["lost_messages"]:
        yield "MqMessagesLost"


def _past_threshold(row: dict[str, Any]) -> str:
    lag, limit = row["lag_messages_at_least"] or 0, row["thresholds"]["lag_messages"]
    return "MqLagHigh" if limit is not None and lag > limit else "MqResidenceTimeHigh"
