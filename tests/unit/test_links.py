"""Where to read on about a subscription."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from exporter.model import STATUSES, CauseName
from exporter.show.links import BY_CAUSE, BY_STATUS, RUNBOOKS, links
from exporter.show.texts import STATUS_MEANINGS
from mixin.alerts import ALERTS
from testbed.tools import ROOT


def row(**changes: Any) -> dict[str, Any]:
    return {
        "system": "kafka",
        "source": "shop",
        "vhost": None,
        "destination": "orders & more",
        "group": "billing",
        "status": "ok",
        "cause": None,
        "lost_messages": 0,
        "lag_messages_at_least": 10,
        "thresholds": {"lag_messages": 1_000, "lag_seconds": 5.0},
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"status": "stalled"}, ["MqStalled"]),
        ({"status": "stopped", "cause": "no_consumers"}, ["MqNoConsumers"]),
        ({"status": "lagging"}, ["MqResidenceTimeHigh"]),
        ({"status": "lagging", "lag_messages_at_least": 2_000}, ["MqLagHigh"]),
        ({"status": "lagging", "cause": "rebalancing"}, ["MqResidenceTimeHigh", "MqRebalanceStorm"]),
        ({"time_to_loss_seconds": 60.0, "lost_messages": 3}, ["MqWillLoseMessages", "MqMessagesLost"]),
        ({"stale": True}, ["MqSourceDown"]),
        ({"thresholds": {"lag_messages": None}, "status": "lagging"}, ["MqResidenceTimeHigh"]),
    ],
)  # fmt: skip
def test_runbooks_follow_status_cause_and_forecast(
    changes: dict[str, Any], expected: list[str]
) -> None:
    assert [each["name"] for each in links(row(**changes))["runbooks"]] == expected


def test_every_runbook_exists_and_has_the_address_of_the_alerts() -> None:
    named = {*BY_STATUS.values(), *BY_CAUSE.values()}
    named |= {"MqSourceDown", "MqWillLoseMessages", "MqMessagesLost", "MqLagHigh"}
    named.add("MqResidenceTimeHigh")
    for name in named:
        assert (ROOT / f"docs/runbooks/{name}.md").exists(), name
    for alert in ALERTS:
        assert alert.rule()["annotations"]["runbook_url"] == f"{RUNBOOKS}{alert.name}.md"
    assert BY_CAUSE.keys() <= set(get_args(CauseName))
    assert BY_STATUS.keys() <= set(STATUSES)


def test_the_dashboard_has_the_names_as_variables() -> None:
    assert links(row(group="\ud800"))["dashboard"] == (
        "/d/mq-subscription?var-system=kafka&var-source=shop&var-vhost="
        "&var-destination=orders+%26+more&var-group=%3F"
    )


def test_every_status_has_a_meaning() -> None:
    assert set(STATUSES) <= STATUS_MEANINGS.keys()
