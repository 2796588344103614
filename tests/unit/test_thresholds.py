"""The table of thresholds: which line applies, and what a config may contain."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.config import ConfigError, parse
from exporter.judgement.thresholds import DEFAULTS, ThresholdLine, Thresholds, ThresholdTable
from exporter.sources.thresholds import idle_thresholds, threshold_table

SOURCES = "sources: [{name: s, system: kafka, bootstrap_servers: 'k:9092'}]\n"


def table(text: str) -> ThresholdTable:
    return threshold_table(parse(SOURCES + text, "c.yaml", {}))


def of(text: str, **labels: str | None) -> Thresholds:
    named: dict[str, Any] = {
        "system": "kafka",
        "source": "orders",
        "vhost": None,
        "destination": "payments",
        "group": "billing-eu",
        **labels,
    }
    return table(text).of_subscription(**named)


EXAMPLE = """
thresholds:
  - match: {source: orders, group: "billing-.*"}
    lag_messages: 5000
    lag_seconds: 30s
  - match: {system: rabbitmq, destination: ".*\\\\.dlq"}
    consumers_expected: false
    lag_seconds: off
  - match: {source: slow}
    probe_seconds: 4s
  - {lag_messages: 2000, lag_seconds: 7s, consume_ratio: 0.9, stop_seconds: 10m, probe_seconds: 2s}
"""


def test_without_a_table_the_usual_thresholds_hold() -> None:
    assert of("") == DEFAULTS == Thresholds(1_000, 5.0, 1.0, 300.0, 1.0, consumers_expected=True)


def test_the_first_line_that_matches_counts_and_the_last_says_the_rest() -> None:
    assert of(EXAMPLE) == Thresholds(5_000, 30.0, 0.9, 600.0, 2.0)
    assert of(EXAMPLE, group="other") == Thresholds(2_000, 7.0, 0.9, 600.0, 2.0)


def test_a_threshold_can_be_switched_off() -> None:
    found = of(EXAMPLE, system="rabbitmq", vhost="/", destination="jobs.dlq", group=None)
    assert found == Thresholds(2_000, None, 0.9, 600.0, 2.0, consumers_expected=False)


@pytest.mark.parametrize("group", ["xbilling-eu", "billing", "BILLING-eu"])
def test_a_pattern_has_to_match_the_whole_name(group: str) -> None:
    assert of(EXAMPLE, group=group).lag_messages == 2_000


def test_a_pattern_matches_a_name_of_several_lines() -> None:
    assert of(EXAMPLE, group="billing-\neu").lag_messages == 5_000


def test_a_label_that_does_not_apply_is_empty() -> None:
    text = "thresholds: [{match: {group: ''}, lag_messages: 7}]"
    assert of(text, group=None).lag_messages == 7
    assert of(text).lag_messages == 1_000


def test_probes_are_of_the_source_as_a_whole() -> None:
    found = table(EXAMPLE)
    assert found.of_source("kafka", "slow").probe_seconds == 4.0
    assert found.of_source("kafka", "orders").probe_seconds == 2.0


def test_the_first_of_two_lines_that_match_counts() -> None:
    lines = [ThresholdLine({"group": "a.*"}, {"lag_messages": n}) for n in (1, 2)]
    found = ThresholdTable(lines).of_subscription("kafka", "s", None, "t", "ab")
    assert found.lag_messages == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{lag_messages: -1}", "expected a whole number of messages, or off"),
        ("{lag_messages: 1.5}", "expected a whole number of messages, or off"),
        ("{lag_messages: many}", "expected a whole number of messages, or off"),
        ("{lag_seconds: 5}", "a duration needs a unit; write 5s"),
        ("{lag_seconds: 0s}", "expected a duration greater than 0, or off"),
        ("{consume_ratio: 0}", "expected a number greater than 0 and at most 10"),
        ("{consume_ratio: fast}", "expected a number greater than 0 and at most 10"),
        ("{consumers_expected: maybe}", "expected true or false"),
        ("{lag_mesages: 5}", "lag_messages"),
        ("{match: {topic: x}, lag_messages: 5}", "unknown"),
        ("{match: {group: '('}, lag_messages: 5}", "not a regular expression"),
    ],
)
def test_a_wrong_line_is_refused_with_what_was_expected(line: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        table(f"thresholds: [{line}]")
    assert message in str(caught.value)


@pytest.mark.parametrize("everything", ["{lag_messages: 5}", "{match: {}, lag_messages: 5}"])
def test_a_line_that_matches_everything_is_the_last(everything: str) -> None:
    with pytest.raises(ConfigError, match="line 1 of 2 has no match"):
        table(f"thresholds: [{everything}, {{match: {{group: a}}, lag_messages: 9}}]")


SOURCES = """
sources:
  - {name: orders, system: kafka, bootstrap_servers: "k:9092"}
  - {name: jobs, system: rabbitmq, management_url: "http://r:15672"}
"""


@pytest.mark.parametrize(
    ("line", "note"),
    [
        (
            "{match: {source: nosuch}, lag_seconds: 9s}",
            "(source: nosuch): matches no configured source",
        ),
        (
            "{match: {system: kafak}, lag_seconds: 9s}",
            "(system: kafak): matches no configured source",
        ),
        ("{match: {system: kafka, source: jobs}, lag_seconds: 9s}", "matches no configured source"),
        ("{match: {group: a}}", "(group: a): sets nothing"),
        (
            "{match: {group: a}, probe_seconds: 1s}",
            "(group: a): probe_seconds applies to a whole source",
        ),
        ("{match: {group: b}, lag_seconds: 9s}", "never used, an earlier line"),
    ],
)
def test_a_line_without_effect_is_told_of(line: str, note: str) -> None:
    first = "{match: {group: b}, lag_messages: 7}"
    (found,) = idle_thresholds(parse(f"thresholds: [{first}, {line}]\n{SOURCES}", "test", {}))
    assert found.startswith("thresholds[1] ")
    assert note in found


def test_a_table_in_which_every_line_counts_has_no_notes() -> None:
    sources = SOURCES.replace("jobs,", "slow,")
    assert idle_thresholds(parse(EXAMPLE + sources, "test", {})) == []
