"""Grafana dashboards as data, and the files that are generated from them."""

from __future__ import annotations

from mixin.boards import exporter, kafka, nsq, overview, probes, rabbitmq, scaling, subscription
from mixin.boards.build import text_of

BOARDS = (
    overview.BOARD,
    subscription.BOARD,
    scaling.BOARD,
    kafka.BOARD,
    rabbitmq.BOARD,
    nsq.BOARD,
    probes.BOARD,
    exporter.BOARD,
)


def files() -> dict[str, str]:
    """Return the text of each dashboard by its path."""
    return {f"dashboards/{board.uid}.json": text_of(board) for board in BOARDS}
