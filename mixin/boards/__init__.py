"""Grafana's dashboards as data, and the files that are made of them."""

from __future__ import annotations

from mixin.boards import exporter, kafka, nsq, overview, probes, rabbitmq, subscription
from mixin.boards.build import text_of

BOARDS = (
    overview.BOARD,
    subscription.BOARD,
    kafka.BOARD,
    rabbitmq.BOARD,
    nsq.BOARD,
    probes.BOARD,
    exporter.BOARD,
)


def files() -> dict[str, str]:
    """Return each dashboard's text by its path."""
    return {f"dashboards/{board.uid}.json": text_of(board) for board in BOARDS}
