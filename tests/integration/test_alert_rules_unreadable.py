"""Alerts on a subscription with a partition that cannot be read.

Firing alerts continue, and no new one fires without evidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.support.rules import (
    INF,
    SUBSCRIPTION,
    Page,
    Value,
    Values,
    always,
    before,
    expect,
    exporter,
    healthy,
    rising,
)

HEALTHY = Page()
FIRST, SECOND = (f'mq_lag_messages{{{SUBSCRIPTION},partition="{number}"}}' for number in (0, 1))
UNREADABLE = f"mq_unreadable_partitions{{{SUBSCRIPTION}}}"
DRAIN = "mq_time_to_drain_seconds"
GONE = "stale"
"""What Prometheus stores at a scrape that lacks a series which the scrape before had."""
CONSUMED = "mq_consumed_messages_total"


def leaderless(start: float, end: float, second: Values) -> dict[str, Value | Values]:
    """The second partition has no leader from one minute to another.

    This begins after `hold`, when the exporter no longer exposes its last values.
    """
    return {
        SECOND: lambda minute: GONE if start <= minute < end else second(minute),
        DRAIN: lambda minute: GONE if start <= minute < end else INF,
        UNREADABLE: lambda minute: 1 if start <= minute < end else GONE,
    }


def stops_at(minute: float) -> dict[str, Value | Values]:
    return {CONSUMED: before(minute, rising(10), minute * 600)}


CASES: dict[str, tuple[Page, Mapping[float, Sequence[str]]]] = {
    "MqLagHigh goes on until all is read again": (
        HEALTHY.but(leaderless(30, 90, lambda minute: 1_970 if 20 <= minute < 60 else 4)),
        {24: [], 26: ["MqLagHigh"], 32: ["MqLagHigh"], 89: ["MqLagHigh"], 100: []},
    ),
    "MqStalled goes on": (
        HEALTHY.but({**stops_at(20), **leaderless(30, 60, always(50))}),
        {24: [], 27: ["MqStalled"], 31: ["MqStalled"], 59: ["MqStalled"], 62: ["MqStalled"]},
    ),
    "MqStalled does not begin": (
        HEALTHY.but(
            {
                **leaderless(20, 40, always(50)),
                CONSUMED: before(20, rising(10), before(40, 12_000, lambda m: 600 * (m - 20))),
            }
        ),
        {22: [], 27: [], 35: [], 39: [], 42: [], 50: []},
    ),
    "time during which a partition cannot be read is no standstill": (
        HEALTHY.but({**leaderless(20, 40, always(50)), **stops_at(20)}),
        {39: [], 42: [], 43: [], 47: ["MqStalled"]},
    ),
    "what is known is past the threshold": (
        HEALTHY.but({**leaderless(20, 60, always(5)), FIRST: before(25, 20, 5_000)}),
        {24: [], 29: [], 31: ["MqLagHigh"]},
    ),
    "the backlog that comes back with the partition does not grow": (
        HEALTHY.but({**leaderless(40, 60, lambda m: 20_000 - 100 * m), FIRST: 1_500}),
        {58: ["MqLagHigh"], 65: ["MqLagHigh"], 80: ["MqLagHigh"]},
    ),
    "an exporter beside it reads all of it": (
        Page({**exporter(), **healthy(), **healthy(SUBSCRIPTION.replace("a:9877", "b:9877"))}).but(
            {**stops_at(20), "mq_lag_messages": 50, DRAIN: INF, UNREADABLE: 1}
        ),
        {24: [], 27: ["MqStalled"]},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_alerts_while_a_partition_cannot_be_read(name: str, tmp_path: Path) -> None:
    page, expected = CASES[name]
    expect(page, expected, tmp_path, name)
