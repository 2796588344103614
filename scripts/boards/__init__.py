"""Grafana's dashboards as data, and the files that are made of them."""

from __future__ import annotations

from collections.abc import Mapping

from boards import exporter, kafka, nsq, overview, probes, rabbitmq, subscription
from boards.build import text_of

BOARDS = (
    overview.BOARD,
    subscription.BOARD,
    kafka.BOARD,
    rabbitmq.BOARD,
    nsq.BOARD,
    probes.BOARD,
    exporter.BOARD,
)

NOT_SHOWN: Mapping[str, str] = {
    "mq_produced_messages_per_second": "the same as rate(mq_produced_messages_total), for who has no Prometheus",
    "mq_subscription_produced_messages_per_second": "likewise",
    "mq_consumed_messages_per_second": "likewise",
    "mq_consumers_expected": "a setting, which alerts go by",
    "mq_threshold_stop_seconds": "a setting, which alerts go by",
    "mq_threshold_consume_ratio": "a setting, which alerts go by",
}
"""Metrics of the catalogue that are on no dashboard, and why."""


def files() -> dict[str, str]:
    """Return each dashboard's text by its path."""
    return {f"dashboards/{board.uid}.json": text_of(board) for board in BOARDS}
