"""The alert rules: each fires when it should, not yet, and not on a healthy page; and what must not fire at all."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.catalogue import BY_NAME
from tests.support.rules import (
    INF,
    JOB,
    ROOT,
    RULES,
    SOURCE,
    SUBSCRIPTION,
    Page,
    Value,
    Values,
    always,
    before,
    expect,
    exporter,
    gap,
    healthy,
    rising,
    run,
)

HEALTHY = Page()
LAGS = {"mq_lag_messages": always(2_500), "mq_time_to_drain_seconds": always(INF)}
"""5,000 messages on two partitions."""
LATE = {"mq_lag_seconds": always(40), "mq_time_to_drain_seconds": always(INF)}
COUNTED = (
    *("mq_consumed_messages_total", "mq_subscription_produced_messages_total"),
    *("mq_commit_interval_seconds", "mq_time_to_drain_seconds"),
)
LOST = f"mq_messages_lost_total{{{SUBSCRIPTION}}}"
KEPT = '__name__="subscription:mq_moved:timestamp_seconds",' + SUBSCRIPTION.replace(
    ',instance="a:9877"', ""
)
OTHER_JOB = 'job="mq-lag-exporter",instance="b:9877"'
OTHERS = Page(exporter(f'{OTHER_JOB},system="nsq",source="jobs"', OTHER_JOB)).but(
    {f"up{{{OTHER_JOB}}}": 1}
)
"""Another exporter, with a source of its own."""
STOPPED = {
    "mq_lag_messages": always(50),
    "mq_time_to_drain_seconds": always(INF),
    "mq_consumed_messages_total": before(20, rising(10), 12_000),
}
PROBES = "mq_probe_latency_seconds_bucket"
NODE = f'{SOURCE},node="k1:9092",stage="receive"'
REDELIVERED = f"mq_redelivered_messages_total{{{SUBSCRIPTION}}}"
DEFERRED = f'mq_deferred_messages{{{SUBSCRIPTION},partition="0"}}'


def held_back(messages: int, every: float) -> dict[str, Value | Values]:
    """From minute 20 on nothing succeeds: each message is requeued with a delay of so many minutes, and nothing waits."""
    stands = before(20, rising(10), 12_000)
    return {
        "mq_lag_messages": 0,
        "mq_lag_seconds": 0,
        "mq_time_to_drain_seconds": 0,
        "mq_consumed_messages_total": stands,
        "mq_subscription_produced_messages_total": stands,
        REDELIVERED: before(20, 0, lambda m: messages * int((m - 20) / every)),
        DEFERRED: before(20, 0, messages),
    }


LOOP = ["MqRedeliveryLoop"]


def from_minute(minute: float, changes: Mapping[str, Values]) -> dict[str, Value | Values]:
    """Make changes from a minute on; before it, all is healthy."""
    made: dict[str, Value | Values] = {}
    for key, values in changes.items():
        start = key if "{" in key else key + "{"
        for name, good in HEALTHY.series.items():
            if name.startswith(start):
                made[name] = before(minute, good, values)
    return made


CASES: dict[str, tuple[Page, Mapping[float, Sequence[str]]]] = {
    "MqLagHigh": (
        HEALTHY.but(from_minute(20, LAGS)),
        {20: [], 24: [], 26: ["MqLagHigh"], 51: ["MqLagHigh", "MqWillNotDrain"]},
    ),
    "MqLagHigh, for who moves every ten minutes": (
        HEALTHY.but(from_minute(20, LAGS)).but({"mq_commit_interval_seconds": 600}),
        {26: [], 75: ["MqWillNotDrain"], 85: ["MqLagHigh", "MqWillNotDrain"]},
    ),
    "MqResidenceTimeHigh": (
        HEALTHY.but(from_minute(20, LATE)),
        {20: [], 24: [], 26: ["MqResidenceTimeHigh"]},
    ),
    "MqResidenceTimeHigh, beyond what the commits explain": (
        HEALTHY.but(from_minute(20, LATE)).but({"mq_commit_interval_seconds": 34}),
        {26: ["MqResidenceTimeHigh"]},
    ),
    "MqResidenceTimeHigh, without a known cadence": (
        HEALTHY.but(from_minute(20, LATE)).without("mq_commit_interval_seconds"),
        {24: [], 26: ["MqResidenceTimeHigh"]},
    ),
    "MqConsumeRateLow": (
        HEALTHY.but(from_minute(20, LAGS)).but(
            {"mq_consumed_messages_total": before(20, rising(10), lambda m: 6_000 + m * 60 * 5)}
        ),
        {24: [], 26: ["MqConsumeRateLow", "MqLagHigh"]},
    ),
    "MqNoConsumers": (
        HEALTHY.but(STOPPED).but({"mq_consumers": before(20, 2, 0)}),
        {20: [], 24: [], 27: ["MqNoConsumers"]},
    ),
    "MqStalled": (HEALTHY.but(STOPPED), {20: [], 24: [], 27: ["MqStalled"]}),
    "MqStalled, where nobody can say how many consumers there are": (
        HEALTHY.but(STOPPED).without("mq_consumers"),
        {24: [], 27: ["MqStalled"]},
    ),
    "MqStalled, by its own stop time": (
        HEALTHY.but(STOPPED).but({"mq_threshold_stop_seconds": 1_200}),
        {40: [], 44: ["MqStalled"]},
    ),
    "MqStalled, where the broker counts nothing": (
        HEALTHY.without(*COUNTED).but({"mq_lag_messages": before(20, 0, 5)}),
        {20: [], 24: [], 29: ["MqStalled"]},
    ),
    "MqPositionPastEnd": (
        HEALTHY.but({f"mq_past_end_messages{{{SUBSCRIPTION}}}": before(20, None, 70)}),
        {20: [], 24: [], 26: ["MqPositionPastEnd"]},
    ),
    "MqOffsetsRewound": (
        HEALTHY.but({"mq_offset_rewinds_total": before(20, 0, 1)}),
        {19: [], 21: ["MqOffsetsRewound"], 40: []},
    ),
    "MqMessagesLost": (
        HEALTHY.but({LOST: before(20, 0, 700)}),
        {19: [], 21: ["MqMessagesLost"], 40: []},
    ),
    "MqRetentionNear": (
        HEALTHY.but({"mq_time_to_loss_seconds": before(20, INF, 3_000)}),
        {24: [], 26: ["MqRetentionNear"]},
    ),
    "MqWillLoseMessages": (
        HEALTHY.but(
            {
                "mq_time_to_loss_seconds": before(20, INF, 40_000),
                "mq_time_to_drain_seconds": before(20, 3, 90_000),
            }
        ),
        {34: [], 41: ["MqWillLoseMessages"]},
    ),
    "MqWillNotDrain": (
        HEALTHY.but(from_minute(20, LAGS)),
        {49: ["MqLagHigh"], 51: ["MqLagHigh", "MqWillNotDrain"]},
    ),
    "MqRedeliveryLoop": (
        HEALTHY.but({REDELIVERED: before(20, 0, lambda m: (m - 20) * 60 * 30)}),
        {22: [], 31: ["MqRedeliveryLoop"]},
    ),
    "MqRedeliveryLoop, of messages that are requeued with a delay": (
        HEALTHY.but(held_back(40, 1)),
        {20: [], 31: LOOP, 60: LOOP},
    ),
    "MqRedeliveryLoop, of one message every five minutes": (
        HEALTHY.but(held_back(1, 5)),
        {40: [], 52: LOOP, **dict.fromkeys(range(53, 100, 3), LOOP)},
    ),
    "MqRedeliveryLoop, of one message every quarter of an hour": (
        HEALTHY.but(held_back(1, 15)),
        {60: [], 82: LOOP, **dict.fromkeys(range(83, 140, 3), LOOP)},
    ),
    "MqRedeliveryLoop, of 40 messages every quarter of an hour": (
        HEALTHY.but(held_back(40, 15)),
        {30: [], **dict.fromkeys(range(82, 140, 3), LOOP)},
    ),
    "MqRedeliveryLoop, and its end": (
        HEALTHY.but(held_back(1, 5)).but(
            {
                REDELIVERED: before(20, 0, lambda m: int((min(m, 60) - 20) / 5)),
                "mq_consumed_messages_total": before(
                    60, before(20, rising(10), 12_000), lambda m: 12_000 + (m - 60) * 60
                ),
                DEFERRED: before(20, 0, before(60, 1, 0)),
            }
        ),
        {55: LOOP, 60: LOOP, 70: []},
    ),
    "MqRebalanceStorm": (
        HEALTHY.but({"mq_group_rebalances_total": before(20, 0, lambda m: int((m - 20) * 2))}),
        {30: [], 34: ["MqRebalanceStorm"]},
    ),
    "MqWillNotDrain, though a forecast was finite once": (
        HEALTHY.but(from_minute(20, LAGS)).but(
            {
                "mq_time_to_drain_seconds": lambda m: (
                    3 if m < 20 else (700 if 40 <= m < 40.5 else INF)
                )
            }
        ),
        {
            49: ["MqLagHigh"],
            51: ["MqLagHigh", "MqWillNotDrain"],
            70: ["MqLagHigh", "MqWillNotDrain"],
        },
    ),
    "MqWillNotDrain, while the lag swings": (
        HEALTHY.but(from_minute(20, LAGS)).but(
            {"mq_lag_messages": before(20, 8, lambda m: 2_500 + 150 * math.sin(m * 1.3))}
        ),
        {
            49: ["MqLagHigh"],
            60: ["MqLagHigh", "MqWillNotDrain"],
            90: ["MqLagHigh", "MqWillNotDrain"],
        },
    ),
    "MqLagHigh, once it drains no more": (
        HEALTHY.but(
            {
                "mq_lag_messages": before(20, 8, lambda m: 9_000 - min(m - 20, 5) * 600),
                "mq_time_to_drain_seconds": before(20, 3, before(25, 600, INF)),
            }
        ),
        {26: [], 29: [], 31: ["MqLagHigh"]},
    ),
    "MqProbeFailing": (
        HEALTHY.but({"mq_probe_success": before(20, 1, 0)}),
        {21: [], 23: ["MqProbeFailing"]},
    ),
    "MqProbeSlow": (
        HEALTHY.but({f'{PROBES}{{{NODE},le="0.01"': before(20, rising(0.2), 240)}),
        {22: [], 30: ["MqProbeSlow"]},
    ),
    "MqSourceDown": (
        HEALTHY.but({"mq_up": before(20, 1, 0)}),
        {21: [], 23: ["MqSourceDown"], 30: ["MqSourceDown"]},
    ),
    "MqSourceRecovering": (
        HEALTHY.but({"mq_up": lambda m: 0 if 20 <= m < 25 else 1}),
        {
            23: ["MqSourceDown"],
            25.75: ["MqSourceDown", "MqSourceRecovering"],
            28: ["MqSourceRecovering"],
            32: [],
        },
    ),
    "MqSourceUnwatched": (
        HEALTHY.beside(OTHERS).but(
            {
                **{name: gap(20, 999, values) for name, values in HEALTHY.series.items()},
                f"up{{{JOB}}}": before(20, 1, 0),
            }
        ),
        {24: [], 31: ["MqSourceUnwatched"], 120: ["MqSourceUnwatched"]},
    ),
    "MqExporterDown": (
        HEALTHY.each(lambda values: gap(20, 999, values)),
        {24: [], 32: ["MqExporterDown"]},
    ),
    "MqDataStale": (
        HEALTHY.but(
            {
                "mq_collect_last_success_timestamp_seconds": before(
                    20, lambda m: m * 60, lambda _: 1_200
                )
            }
        ),
        {34: [], 36: ["MqDataStale"]},
    ),
    "MqConfigRefused": (
        HEALTHY.but({"mq_config_last_reload_successful": before(20, 1, 0)}),
        {24: [], 26: ["MqConfigRefused"]},
    ),
    "MqSeriesDropped": (
        HEALTHY.but({"mq_series_dropped": before(20, 0, 900)}),
        {34: [], 36: ["MqSeriesDropped"]},
    ),
}

NOBODY = {"mq_consumers": always(0), "mq_consumed_messages_total": always(500)}


def deploy(minute: float) -> bool:
    return 20 <= minute < 22


def deployed() -> Page:
    """Nobody reads for two minutes; what came meanwhile is processed at ten times the rate."""
    lag: Values = lambda m: (  # noqa: E731 - one of many
        4.0 if m < 20 else min((m - 20) * 300, 600) - max(0, min((m - 22) * 3_000, 596))
    )
    return HEALTHY.but(
        {
            "mq_lag_messages": lag,
            "mq_lag_seconds": lambda m: (m - 20) * 60 if deploy(m) else (60 if 22 <= m < 23 else 1),
            "mq_consumers": lambda m: 0 if deploy(m) else 2,
            "mq_consumed_messages_total": lambda m: 12_000 if deploy(m) else m * 600,
            "mq_time_to_drain_seconds": lambda m: INF if deploy(m) else 5,
        }
    )


def nightly() -> Page:
    """A million messages come within three minutes and are processed within twelve more; rates are known a minute late."""

    def lag(minute: float) -> float:
        come = min(max(minute - 20, 0), 3) * 333_333
        gone = max(minute - 20, 0) * 66_666
        return max(come - gone, 0)

    return HEALTHY.but(
        {
            "mq_lag_messages": lambda m: lag(m) / 2,
            "mq_lag_seconds": lambda m: min(max(m - 20, 0) * 48, 576) if lag(m) else 0,
            "mq_time_to_drain_seconds": lambda m: (
                INF if 20 <= m < 24 else round(lag(m) / 66_666 * 60)
            ),
            "mq_consumed_messages_total": lambda m: min(max(m - 20, 0) * 66_666, 999_999),
            "mq_subscription_produced_messages_total": lambda m: min(max(m - 20, 0), 3) * 333_333,
        }
    )


def connect() -> Page:
    """A commit a minute at 100 messages a second: up to 6,000 wait, for up to a minute."""
    since: Values = lambda m: (m % 1) * 60  # noqa: E731 - one of many
    return HEALTHY.but(
        {
            "mq_lag_messages": lambda m: (m % 1) * 3_000,
            "mq_lag_seconds": since,
            "mq_commit_interval_seconds": 60,
            "mq_consumed_messages_total": lambda m: int(m) * 6_000,
            "mq_subscription_produced_messages_total": rising(100),
            "mq_time_to_drain_seconds": lambda m: INF if int(m) % 2 else 40,
        }
    )


SILENT: dict[str, Page] = {
    "a healthy page": HEALTHY,
    "a restart of the exporter": HEALTHY.but(
        {
            "mq_consumed_messages_total": before(20, rising(10), lambda m: (m - 20) * 600),
            "mq_subscription_produced_messages_total": before(
                20, rising(10), lambda m: (m - 20) * 600
            ),
            "mq_lag_seconds": before(21, 0.5, 0.4),
            "mq_time_to_drain_seconds": before(21, 3, 4),
        }
    ).each(lambda values: gap(20, 20.6, values)),
    "a new exporter whose first look finds a backlog that drains": HEALTHY.but(
        {
            "mq_lag_messages": lambda m: max(9_000 - (m - 20) * 3_000, 4),
            "mq_lag_seconds": lambda m: max(60 - (m - 20) * 20, 1),
            "mq_up": before(20.5, 0, 1),
            "mq_probe_success": before(20.5, 0, 1),
        }
    )
    .each(lambda values: gap(0, 20, values))
    .but({"mq_exporter_build_info": 1}),
    "a restart of the exporter while a backlog drains": HEALTHY.but(
        {
            "mq_lag_messages": before(20, 8, lambda m: max(20_000 - (m - 20) * 2_000, 8)),
            "mq_lag_seconds": before(20, 0.5, lambda m: max(300 - (m - 20) * 30, 0.5)),
            "mq_time_to_drain_seconds": before(
                20, 3, gap(26, 29, lambda m: max(600 - (m - 20) * 60, 3))
            ),
        }
    ).each(lambda values: gap(26, 26.6, values)),
    "one odd forecast while a backlog drains": HEALTHY.but(
        {
            "mq_lag_messages": before(20, 8, lambda m: max(20_000 - (m - 20) * 2_000, 8)),
            "mq_lag_seconds": before(20, 0.5, lambda m: max(300 - (m - 20) * 30, 0.5)),
            "mq_time_to_drain_seconds": lambda m: (
                INF if 27 <= m < 27.5 else max(600 - (m - 20) * 60, 3)
            ),
        }
    ),
    "a large backlog that drains within hours": HEALTHY.but(
        {
            "mq_lag_messages": before(20, 8, lambda m: 200_000 - (m - 20) * 1_000),
            "mq_time_to_drain_seconds": before(20, 3, lambda m: 24_000 - (m - 20) * 60),
            "mq_threshold_lag_messages": 1_000_000,
        }
    ),
    "one rebalance in each five minutes": HEALTHY.but(
        {"mq_group_rebalances_total": lambda m: int(m / 5)}
    ),
    "dead letters that expire unread": HEALTHY.but(
        {
            **NOBODY,
            "mq_lag_messages": 40,
            "mq_consumers_expected": 0,
            "mq_messages_lost_total": rising(1),
            "mq_time_to_drain_seconds": INF,
        }
    ),
    "dead letters where nobody can say how many consumers there are": HEALTHY.but(
        {
            **NOBODY,
            "mq_lag_messages": 40,
            "mq_consumers_expected": 0,
            "mq_time_to_drain_seconds": INF,
        }
    ).without("mq_consumers"),
    "a position past the end for three minutes, while a topic is deleted and created": HEALTHY.but(
        {f"mq_past_end_messages{{{SUBSCRIPTION}}}": lambda m: 70 if 20 <= m < 23 else "stale"}
    ),
    "a source that was taken from the config": HEALTHY.beside(OTHERS)
    .but({f"up{{{JOB}}}": 1})
    .but({name: gap(20, 999, values) for name, values in {**exporter(), **healthy()}.items()})
    .but({f"mq_exporter_build_info{{{JOB}": 1}),
    "an exporter that was replaced by one of another name": HEALTHY.each(
        lambda values: gap(20, 999, values)
    )
    .beside(HEALTHY.of_instance("c:9877"))
    .but({f"up{{{JOB}}}": before(20, 1, 0)}),
    "a restart of the exporter beside a group that commits every ten minutes": HEALTHY.but(
        {
            "mq_lag_messages": lambda m: (m % 10) * 3_000,
            "mq_lag_seconds": lambda m: (m % 10) * 60,
            "mq_threshold_stop_seconds": 900,
            "mq_consumed_messages_total": before(
                23, lambda m: int(m / 10) * 60_000, lambda m: (int(m / 10) - 2) * 60_000
            ),
            "mq_subscription_produced_messages_total": rising(100),
            "mq_time_to_drain_seconds": INF,
            "mq_commit_interval_seconds": lambda m: 0 if 23 <= m < 40 else 600,
        }
    ).each(lambda values: gap(23, 23.6, values)),
    "a scrape that was lost": HEALTHY.each(lambda values: gap(20, 20.25, values)),
    "three scrapes that were lost": HEALTHY.each(lambda values: gap(20, 20.75, values)),
    "a deploy of two minutes": deployed(),
    "a nightly batch that drains in time": nightly(),
    "a deleted group": HEALTHY.but(
        {name: gap(20, 999, values) for name, values in healthy().items()}
    ).but({"mq_group_rebalances_total": gap(20, 999, always(3))}),
    "a deleted group that was lagging a little": HEALTHY.but(
        {
            **{name: gap(24, 999, values) for name, values in healthy().items()},
            f'mq_lag_messages{{{SUBSCRIPTION},partition="0"': before(
                20, 8, gap(24, 999, always(5_000))
            ),
        }
    ),
    "a group that reads one partition of two": HEALTHY.but(
        {
            f'mq_lag_messages{{{SUBSCRIPTION},partition="1"': None,
            f'mq_lag_seconds{{{SUBSCRIPTION},partition="1"': None,
            "mq_subscription_produced_messages_total": rising(5),
            "mq_consumed_messages_total": rising(5),
            "mq_produced_messages_total": rising(10),
        }
    ),
    "a commit a minute, as Kafka Connect does": connect(),
    "a dead-letter queue without consumers": HEALTHY.but(
        {
            **NOBODY,
            "mq_lag_messages": 40,
            "mq_consumers_expected": 0,
            "mq_time_to_drain_seconds": INF,
        }
    )
    .without("mq_threshold_lag_seconds")
    .but({"mq_lag_seconds": lambda m: m * 60}),
    "a topic that a live group no longer reads": HEALTHY.but(
        {
            **NOBODY,
            "mq_lag_messages": lambda m: m * 300,
            "mq_lag_seconds": lambda m: m * 60,
            "mq_time_to_drain_seconds": INF,
            "mq_time_to_loss_seconds": 600,
            f'mq_subscription_status{{{SUBSCRIPTION},status="abandoned"': 1,
            f'mq_subscription_status{{{SUBSCRIPTION},status="ok"': 0,
        }
    ),
    "members that come and go while the group rebalances": HEALTHY.but(
        {
            "mq_consumers": lambda m: (2, 3, 1, 2)[int(m * 2) % 4] if 20 <= m < 25 else 2,
            "mq_group_rebalances_total": lambda m: max(0, min(int((m - 20) * 2), 10)),
            "mq_group_members": lambda m: (2, 3, 0, 2)[int(m * 2) % 4] if 20 <= m < 25 else 2,
        }
    ),
    "a consumer that is not a member, and moves": HEALTHY.but({"mq_consumers": 0}),
    "a busy queue that is never empty, where the broker counts nothing": HEALTHY.without(
        *COUNTED
    ).but({"mq_lag_messages": lambda m: 20 + int(m * 4) % 5}),
    "messages that are published with a delay": HEALTHY.but(
        {REDELIVERED: 0, DEFERRED: lambda m: 500 + int(m) % 7}
    ),
    "a requeue now and then among many that are processed": HEALTHY.but(
        {REDELIVERED: rising(0.3), DEFERRED: 3}
    ),
    "a consumer of a quiet queue that restarts once": HEALTHY.but(
        {
            REDELIVERED: before(25, 0, 10),
            "mq_consumed_messages_total": rising(0.01),
            "mq_subscription_produced_messages_total": rising(0.01),
        }
    ),
    "an idle topic": HEALTHY.but(
        {
            "mq_lag_messages": 0,
            "mq_lag_seconds": 0,
            "mq_consumed_messages_total": 500,
            "mq_subscription_produced_messages_total": 500,
            "mq_time_to_drain_seconds": 0,
        }
    ),
    "a source that blinks": HEALTHY.but({"mq_up": lambda m: 0 if 20 <= m < 21.5 else 1}),
    "a node in maintenance mode": HEALTHY.but(
        {"mq_probe_success": before(20, 1, before(20.5, 0, before(60, "stale", 1)))}
    ),
    "a probe that is lost": HEALTHY.but({"mq_probe_success": lambda m: 0 if 20 <= m < 21 else 1}),
}


def dormant(minute: float, labels: str = SUBSCRIPTION) -> dict[str, Value | Values]:
    """Statuses of a subscription that is dormant from a minute on."""
    return {
        f'mq_subscription_status{{{labels},status="ok"}}': before(minute, 1, 0),
        f'mq_subscription_status{{{labels},status="dormant"}}': before(minute, 0, 1),
    }


DEAD = HEALTHY.but(
    {
        **{
            name: values(30.0) for name, values in from_minute(20, LAGS).items() if callable(values)
        },
        "mq_lag_seconds": lambda m: 86_400 + 60 * m,
        "mq_time_to_drain_seconds": INF,
        "mq_time_to_loss_seconds": 600,
        "mq_consumers": 0,
        "mq_consumed_messages_total": 0,
        "mq_messages_lost_total": rising(1),
    }
)
"""A group that nobody has read with for long, and whose messages retention deletes."""
FOUND_DEAD = DEAD.but(dormant(0))
SILENT |= {
    "groups that were dead before anybody watched": FOUND_DEAD,
    "groups that were dead before, and a restart of the exporter": FOUND_DEAD.each(
        lambda values: gap(30, 30.5, values)
    ),
}


def page_of_two(other: Page) -> Page:
    """Two exporters of the same sources; the second one sees `other`."""
    return HEALTHY.beside(other.of_instance("b:9877"))


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_when_it_should_and_not_yet(name: str, tmp_path: Path) -> None:
    page, expected = CASES[name]
    assert name.partition(",")[0] in {alert for alerts in expected.values() for alert in alerts}
    expect(page, expected, tmp_path, name)


@pytest.mark.parametrize("name", SILENT)
def test_what_must_not_fire(name: str, tmp_path: Path) -> None:
    moments = [10, *(20 + step / 2 for step in range(60)), 60, 90]
    expect(SILENT[name], {minute: [] for minute in moments}, tmp_path, name)


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES[1].read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_every_alert_has_a_case() -> None:
    named = {name.partition(",")[0] for name in CASES} | {"MqManyLagging"}
    assert named == {rule["alert"] for rule in alerts()}


# Recovery, blips, exporters side by side


def test_an_alert_ends_after_the_recovery(tmp_path: Path) -> None:
    page = HEALTHY.but(
        {
            "mq_lag_messages": lambda m: 2_500 if 20 <= m < 40 else 8,
            "mq_time_to_drain_seconds": lambda m: INF if 20 <= m < 40 else 3,
        }
    )
    expect(page, {39: ["MqLagHigh"], 41: ["MqLagHigh"], 46: []}, tmp_path)


def test_a_blip_of_the_source_neither_ends_an_alert_nor_begins_it_anew(tmp_path: Path) -> None:
    """The subscription's series are gone for three minutes."""
    hidden = {name: gap(40, 43, values) for name, values in healthy().items()}
    blip = HEALTHY.but(from_minute(20, LAGS))
    blip = Page(
        {
            name: gap(40, 43, blip.series[name]) if name in hidden else blip.series[name]
            for name in blip.series
        }
    )
    moments = [38 + step / 4 for step in range(40)]
    expect(
        blip.but({"mq_time_to_drain_seconds": 5_000}),
        {minute: ["MqLagHigh"] for minute in moments},
        tmp_path,
    )


def test_a_restart_of_the_exporter_changes_nothing(tmp_path: Path) -> None:
    """Gone for half a minute, and its counters at 0: who stood still does so."""
    page = HEALTHY.but(STOPPED).but(
        {"mq_consumed_messages_total": lambda m: min(m, 20) * 600 if m < 40 else 0}
    )
    page = page.each(lambda values: gap(40, 40.5, values))
    moments = [29 + step for step in range(40)]
    expect(page, {minute: ["MqStalled"] for minute in moments}, tmp_path)


def test_labels_of_the_scraping_side_change_nothing(tmp_path: Path) -> None:
    """Two pods, as Prometheus's operator labels them."""
    page = CASES["MqNoConsumers"][0]

    def pod(name: str) -> Page:
        labels = f'namespace="queues",container="exporter",endpoint="http",pod="{name}",instance="{name}"'
        return Page({k.replace('instance="a:9877"', labels): v for k, v in page.series.items()})

    expect(pod("p1").beside(pod("p2")), CASES["MqNoConsumers"][1], tmp_path)


def test_two_exporters_notify_once(tmp_path: Path) -> None:
    page = Page({**HEALTHY.but(from_minute(20, LAGS)).series})
    both = page.beside(page.of_instance("b:9877"))
    tests = {
        "expr": 'ALERTS{alertname="MqLagHigh",alertstate="firing"}',
        "eval_time": "26m",
        "exp_samples": [
            {
                "labels": 'ALERTS{alertname="MqLagHigh",alertstate="firing",severity="warning",scope="subscription",'
                'job="mq-lag-exporter",system="kafka",source="shop",destination="orders",group="billing"}',
                "value": 1,
            }
        ],
    }
    assert run(both, 30, {"promql_expr_test": [tests]}, tmp_path) is None


@pytest.mark.parametrize(
    "name", ["MqLagHigh", "MqStalled", "MqNoConsumers", "MqMessagesLost", "MqProbeFailing"]
)
def test_a_blind_exporter_beside_one_that_sees_silences_nothing(name: str, tmp_path: Path) -> None:
    """The second one lost its way to the source, so that it has no subscriptions."""
    seeing, expected = CASES[name]
    blind = Page(exporter()).but(
        {"mq_up": 0, "mq_probe_success": 0 if name == "MqProbeFailing" else 1}
    )
    expect(seeing.beside(blind.of_instance("b:9877")), expected, tmp_path)


def test_the_probes_of_a_node_that_was_removed_end_their_alert(tmp_path: Path) -> None:
    """After `keep_firing_for`, and five minutes more here, since no stale marker ends the series."""
    ended = HEALTHY.but({"mq_probe_success": gap(30, 999, before(20, 1, 0))})
    expect(ended, {29: ["MqProbeFailing"], 45: []}, tmp_path)


def test_a_blind_exporter_alone_is_no_source_down(tmp_path: Path) -> None:
    expect(
        page_of_two(HEALTHY.but({"mq_up": 0, "mq_probe_success": 0})), {30: [], 60: []}, tmp_path
    )


def test_a_group_that_lags_on_many_partitions_is_one_alert(tmp_path: Path) -> None:
    many = {
        f'mq_lag_messages{{{SUBSCRIPTION},partition="{index}"}}': always(600) for index in range(20)
    }
    page = Page({**HEALTHY.series, **many}).but({"mq_time_to_drain_seconds": INF})
    test = {
        "expr": 'count(ALERTS{alertname="MqLagHigh",alertstate="firing"})',
        "eval_time": "10m",
        "exp_samples": [{"labels": "{}", "value": 1}],
    }
    assert run(page, 12, {"promql_expr_test": [test]}, tmp_path) is None


def test_a_threshold_that_is_switched_off_has_no_alert(tmp_path: Path) -> None:
    page = CASES["MqLagHigh"][0].without("mq_threshold_lag_messages")
    expect(page, {26: [], 60: []}, tmp_path)


def test_a_threshold_is_each_subscription_s_own(tmp_path: Path) -> None:
    page = CASES["MqLagHigh"][0].but({"mq_threshold_lag_messages": 6_000})
    expect(page, {26: [], 60: []}, tmp_path)


def test_who_died_is_told_of_before_the_symptoms_are(tmp_path: Path) -> None:
    """In Alertmanager's config symptoms wait for a minute, and are silenced by the reason."""
    page = HEALTHY.but(
        {
            "mq_consumers": before(30, 2, 0),
            "mq_consumed_messages_total": before(30, rising(100), 180_000),
            "mq_subscription_produced_messages_total": rising(100),
            "mq_lag_messages": before(30, 4, lambda m: (m - 30) * 3_000),
            "mq_lag_seconds": before(30, 0.5, lambda m: (m - 30) * 60),
            "mq_time_to_drain_seconds": before(30, 3, INF),
        }
    )
    expected = {
        34.5: [],
        36.5: ["MqConsumeRateLow", "MqLagHigh", "MqNoConsumers", "MqResidenceTimeHigh"],
    }
    moved = {
        "expr": "subscription:mq_moved:timestamp_seconds",
        "eval_time": "36m",
        "exp_samples": [{"labels": f"{{{KEPT}}}", "value": 1_800}],
    }
    expect(page, expected, tmp_path)
    assert run(page, 37, {"promql_expr_test": [moved]}, tmp_path) is None


def test_what_prometheus_saw_alive_is_not_called_dead_by_a_restart(tmp_path: Path) -> None:
    """The exporter starts again at minute 40, and sees a group without consumers that does not move."""
    page = (
        HEALTHY.but(STOPPED)
        .but({"mq_consumers": before(20, 2, 0), **dormant(40)})
        .each(lambda values: gap(40, 40.5, values))
    )
    moments = [29 + step for step in range(40)]
    expect(page, {minute: ["MqNoConsumers"] for minute in moments}, tmp_path)


def test_a_group_that_moved_again_and_stops_again_is_news(tmp_path: Path) -> None:
    page = HEALTHY.but(STOPPED).but(
        {
            "mq_consumers": before(10, 0, before(20, 2, 0)),
            "mq_lag_messages": before(10, 2_500, before(20, 8, 50)),
            "mq_consumed_messages_total": before(10, 0, before(20, rising(10), 12_000)),
            f'mq_subscription_status{{{SUBSCRIPTION},status="ok"}}': before(10, 0, 1),
            f'mq_subscription_status{{{SUBSCRIPTION},status="dormant"}}': before(10, 1, 0),
        }
    )
    expect(page, {9: [], 15: [], 24: [], 27: ["MqNoConsumers"]}, tmp_path)


OFF: dict[str, tuple[str, Value]] = {
    "lag_messages: off": ("mq_threshold_lag_messages", "stale"),
    "lag_messages: 6000": ("mq_threshold_lag_messages", 6_000),
    "lag_seconds: off": ("mq_threshold_lag_seconds", "stale"),
    "lag_seconds: 1h": ("mq_threshold_lag_seconds", 3_600),
    "stop_seconds: off": ("mq_threshold_stop_seconds", "stale"),
    "stop_seconds: 2h": ("mq_threshold_stop_seconds", 7_200),
    "consume_ratio: off": ("mq_threshold_consume_ratio", "stale"),
    "consumers_expected: false": ("mq_consumers_expected", 0),
    "exclude": ("", "stale"),
}
"""A change of the config, and what it does: of a metric, or of all of the subscription."""
OF = {
    "lag_messages: off": ("MqLagHigh", "MqConsumeRateLow"),
    "lag_messages: 6000": ("MqLagHigh", "MqConsumeRateLow"),
    "lag_seconds: off": ("MqResidenceTimeHigh",),
    "lag_seconds: 1h": ("MqResidenceTimeHigh",),
    "stop_seconds: off": ("MqStalled", "MqNoConsumers"),
    "stop_seconds: 2h": ("MqStalled", "MqNoConsumers"),
    "consume_ratio: off": ("MqConsumeRateLow",),
    "consumers_expected: false": ("MqNoConsumers", "MqMessagesLost"),
    "exclude": (
        *("MqLagHigh", "MqResidenceTimeHigh", "MqConsumeRateLow", "MqNoConsumers", "MqStalled"),
        *("MqMessagesLost", "MqRetentionNear", "MqOffsetsRewound", "MqRedeliveryLoop"),
    ),
}
KEEPS = 5.5
"""Minutes for which an alert fires on after what it is about has ended."""


def switched(page: Page, change: str, minute: float) -> Page:
    metric, value = OFF[change]
    mine = SUBSCRIPTION.split(",", 2)[2]
    return page.but(
        {
            name: before(minute, values, value)
            for name, values in page.series.items()
            if name.startswith(metric + "{") or (not metric and mine in name)
        }
    )


@pytest.mark.parametrize(
    ("change", "name"), [(change, name) for change, names in OF.items() for name in names]
)
def test_what_is_switched_off_neither_begins_nor_goes_on(
    change: str, name: str, tmp_path: Path
) -> None:
    page, expected = CASES[name]
    fires = min(minute for minute, names in expected.items() if name in names)
    quiet = max([minute for minute in expected if minute < fires], default=fires - 1)
    count = f'count(ALERTS{{alertname="{name}",alertstate="firing"}})'
    for minute, first in ((quiet, quiet), (fires + 1, fires + 1 + KEEPS)):
        tests = [
            {"expr": count, "eval_time": f"{int((first + step) * 60)}s", "exp_samples": []}
            for step in (0, 0.5, 1, 2, 3, 4, 5, 6, 8, 10, 12)
        ]
        off = switched(page, change, minute)
        assert run(off, first + 12, {"promql_expr_test": tests}, tmp_path) is None, minute


def test_many_lagging_subscriptions_are_one_more_alert(tmp_path: Path) -> None:
    page = Page(exporter())
    for index in range(12):
        labels = f'{SOURCE},destination="orders-{index}",group="billing"'
        lags: dict[str, Value | Values] = {
            "mq_lag_messages": before(20, 8, 1_000 * (index + 1)),
            "mq_time_to_drain_seconds": INF,
        }
        page = page.beside(Page(healthy(labels)).but(lags))
    tests = [
        {
            "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
            "eval_time": f"{minute}m",
            "exp_samples": [
                {"labels": f'{{alertname="{name}"}}', "value": value}
                for name, value in expected.items()
            ],
        }
        for minute, expected in {
            24: {},
            27: {"MqLagHigh": 12, "MqManyLagging": 1},
        }.items()
    ]
    assert run(page, 28, {"promql_expr_test": tests}, tmp_path) is None
    texts = {
        "summary": ["shop (kafka): 12 subscriptions"],
        "description": [
            *("billing on orders-11: 24,000", "billing on orders-10: 22,000"),
            "billing on orders-9: 20,000 messages.",
        ],
    }
    who = {"system": "kafka", "source": "shop"}
    said("MqManyLagging", page, 27, who, texts, tmp_path)


# What an alert says


def rule_of(name: str) -> dict[str, Any]:
    (found,) = [rule for rule in alerts() if rule["alert"] == name]
    return found


def said(
    name: str,
    page: Page,
    minute: float,
    labels: dict[str, str],
    texts: Mapping[str, Sequence[str]],
    folder: Path,
) -> None:
    """Compare labels and annotations of the one alert that fires; of a list, the annotation contains each text in order."""
    rule = rule_of(name)
    expects_none = {"eval_time": f"{int(minute * 60)}s", "alertname": name, "exp_alerts": []}
    outcome = run(page, minute, {"alert_rule_test": [expects_none]}, folder)
    assert outcome is not None, "does not fire"
    assert outcome.count("Labels:{") == 1, outcome
    found_labels, annotations = (
        _quoted(outcome.partition(f"{part}:{{")[2]) for part in ("Labels", "Annotations")
    )
    del found_labels["alertname"]
    assert found_labels == {**labels, **rule["labels"]}
    assert annotations.keys() == rule["annotations"].keys()
    assert annotations["runbook_url"] == rule["annotations"]["runbook_url"]
    for key, expected in texts.items():
        if isinstance(expected, str):
            assert annotations[key] == expected
        else:
            pattern = ".*".join(map(re.escape, expected))
            assert re.search(pattern, annotations[key]), annotations[key]


def _quoted(text: str) -> dict[str, str]:
    """Return the labels at the beginning of a text, up to the closing brace."""
    found: dict[str, str] = {}
    pair = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*")(, )?')
    while (match := pair.match(text)) is not None:
        found[match[1]] = json.loads(match[2])
        text = text[match.end() :]
        if match[3] is None:
            break
    return found


WHO = {
    "job": "mq-lag-exporter",
    "system": "kafka",
    "source": "shop",
    "destination": "orders",
    "group": "billing",
}
LINK = "/d/mq-subscription?var-system=kafka&var-source=shop&var-vhost=&var-destination=orders&var-group=billing"
CAUSE = f'mq_backlog_cause{{{SUBSCRIPTION},cause="slow_consumers"}}'


def test_a_lag_says_numbers_and_cause(tmp_path: Path) -> None:
    page = Page({**CASES["MqLagHigh"][0].series, CAUSE: always(1)})
    texts = {
        "summary": ["billing on orders (shop): ", "5,000 messages"],
        "description": [
            *("threshold of 1,000", "5 minutes", "5,000 messages", "500 ms old"),
            *("Consume rate: 10.0/s", "Produce rate: 10.0/s", "Consumers: 2."),
            "Likely cause: slow consumers.",
        ],
        "dashboard_url": LINK,
    }
    said("MqLagHigh", page, 26, WHO, texts, tmp_path)


def test_a_standstill_does_not_say_that_consumers_are_there_where_that_is_not_known(
    tmp_path: Path,
) -> None:
    page = CASES["MqStalled, where nobody can say how many consumers there are"][0]
    texts = {
        "summary": ["billing on orders (shop): stalled", "100 messages"],
        "description": ["100 messages", "500 ms old", "10 min", "number of consumers is unknown."],
        "dashboard_url": LINK,
    }
    said("MqStalled", page, 30, WHO, texts, tmp_path)


def test_an_age_says_numbers_and_cause(tmp_path: Path) -> None:
    page = Page({**CASES["MqResidenceTimeHigh"][0].series, CAUSE: always(1)})
    texts = {
        "summary": ["billing on orders (shop): ", "40 s old"],
        "description": [
            *("threshold of 5 s", "commit interval of 5 s", "5 minutes", "12 messages", "40 s old"),
            *("Consume rate: 10.0/s", "Produce rate: 10.0/s", "Consumers: 2."),
            "Likely cause: slow consumers.",
        ],
        "dashboard_url": LINK,
    }
    said("MqResidenceTimeHigh", page, 26, WHO, texts, tmp_path)


def test_a_queue_is_called_by_its_vhost(tmp_path: Path) -> None:
    hostile = 'a "b" \\\\ {{ . }} é/ü'
    labels = f'{JOB},system="rabbitmq",source="jobs",vhost="/",destination="{hostile.replace(chr(34), chr(92) + chr(34))}"'
    page = Page({**exporter(), **healthy(labels)}).but(
        {"mq_lag_messages": 2_500, "mq_time_to_drain_seconds": INF}
    )
    name = hostile.replace("\\\\", "\\")
    texts = {
        "summary": [f"{name} in vhost / (jobs): ", "5,000 messages"],
        "description": ["5,000 messages", "500 ms old", "Consumers: 2."],
        "dashboard_url": "/d/mq-subscription?var-system=rabbitmq&var-source=jobs&var-vhost=%2F"
        "&var-destination=a+%22b%22+%5C+%7B%7B+.+%7D%7D+%C3%A9%2F%C3%BC&var-group=",
    }
    who = {
        "job": "mq-lag-exporter",
        "system": "rabbitmq",
        "source": "jobs",
        "vhost": "/",
        "destination": name,
    }
    said("MqLagHigh", page, 10, who, texts, tmp_path)


def test_a_source_that_is_down_says_the_reason(tmp_path: Path) -> None:
    failures = {f'mq_collect_failures_total{{{SOURCE},task="backlog",reason="timeout"': rising(0.1)}
    page = CASES["MqSourceDown"][0].but(failures)
    texts = {
        "summary": ["shop (kafka): ", "cannot be read"],
        "description": ["2 minutes", "Reason: timeout."],
        "dashboard_url": "/d/mq-overview?var-system=kafka&var-source=shop",
    }
    said(
        "MqSourceDown",
        page,
        25,
        {"job": "mq-lag-exporter", "system": "kafka", "source": "shop"},
        texts,
        tmp_path,
    )


# The files


def test_every_alert_has_what_a_person_needs() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert set(rule["annotations"]) == {
            "summary",
            "description",
            "runbook_url",
            "dashboard_url",
            "resolved",
        }
        assert "value" not in rule["annotations"]["resolved"]


def test_every_alert_has_a_page_that_says_what_to_do() -> None:
    folder = ROOT / "docs" / "runbooks"
    headings = ("What it means", "What to do first", "How to see it")
    named = {rule["alert"] for rule in alerts()}
    assert {path.stem for path in folder.glob("Mq*.md")} == named
    for name in named:
        text = (folder / f"{name}.md").read_text()
        assert text.startswith(f"# {name}\n")
        places = [text.index(f"\n## {heading}\n") for heading in headings]
        assert places == sorted(places), name
        assert rule_of(name)["annotations"]["runbook_url"].endswith(f"/docs/runbooks/{name}.md")


def test_every_metric_that_a_rule_names_is_in_the_catalogue() -> None:
    text = "".join(path.read_text() for path in RULES)
    named = set(re.findall(r"\b(?<![:/-])(mq_[a-z_]+)\b(?!:)", text))
    known = {
        *BY_NAME,
        "mq_exporter_build_info",
        "mq_config_last_reload_successful",
        "mq_probe_latency_seconds_bucket",
    }
    assert named - known == set()
    assert len(named) > 15


def test_the_operator_gets_the_same_rules() -> None:
    resource = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "prometheusrule.yaml").read_text())
    assert resource["kind"] == "PrometheusRule"
    files = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    assert resource["spec"]["groups"] == files


def test_after_an_outage_dead_groups_stay_silent_whichever_rules_come_first(tmp_path: Path) -> None:
    growing = FOUND_DEAD.but(
        {"mq_lag_messages": rising(10), "mq_subscription_produced_messages_total": rising(10)}
    ).each(lambda values: before(30, values, before(33, "stale", values)))
    for last in (False, True):
        minutes = {float(minute): () for minute in (29, 33, 33.5, 34, 36, 40)}
        expect(growing, minutes, tmp_path, f"recorded last: {last}", recorded_last=last)
