"""What `check` says about names: patterns without effect, and what may be excluded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from exporter.collectors.kafka.survey import _stillness, worst
from exporter.collectors.nsq.survey import survey_of as survey_nsq
from exporter.collectors.rabbitmq.survey import survey_of as survey_rabbitmq
from exporter.config import Config, SourceConfig, parse
from exporter.model import (
    CollectError,
    Counts,
    Depth,
    Finding,
    Place,
    Positions,
    Problem,
    QueueBacklog,
    Stillness,
    Survey,
    Surveyed,
)
from exporter.sources.thresholds import switched_off, threshold_table
from exporter.survey import report
from exporter.survey.exclusions import MOST_UNKNOWN, exclusions, yaml_text
from exporter.survey.filters import shown, widened
from exporter.survey.matches import line_matches, source_matches
from tests.support.observations import log, log_backlog

KAFKA = """
sources:
  - name: shop
    system: kafka
    bootstrap_servers: k:9092
"""
RABBIT = """
sources:
  - name: jobs
    system: rabbitmq
    management_url: http://r:15672
"""
NOW = 1_800_000_000.0


def config_of(text: str) -> Config:
    return parse(text, "c.yaml", {})


def source_of(more: str = "", base: str = KAFKA) -> SourceConfig:
    return config_of(base + more).sources[0]


def survey(*rows: Surveyed, groups: Sequence[str] = (), **more: Any) -> Survey:
    return Survey(
        frozenset((row.vhost, row.destination) for row in rows),
        frozenset({*groups, *(row.group for row in rows if row.group is not None)}),
        rows,
        **more,
    )


def sub(
    group: str,
    topic: str = "orders",
    stillness: Stillness = "still",
    consumers: int | None = 0,
) -> Surveyed:
    return Surveyed(None, topic, group, consumers, stillness)


def queue(
    name: str, stillness: Stillness = "still", vhost: str = "/", consumers: int | None = 0
) -> Surveyed:
    return Surveyed(vhost, name, None, consumers, stillness)


def proposed(found: Survey, more: str = "", base: str = KAFKA, days: float = 7.0) -> list[str]:
    config = config_of(base + more)
    return [
        each.text for each in exclusions(config.sources[0], found, threshold_table(config), days)
    ]


# Exclusions


def test_dead_groups_are_lines_to_paste_with_the_number_of_their_subscriptions() -> None:
    found = survey(sub("old"), sub("old", "mails"), sub("b.v1"), sub("live", consumers=2))
    assert proposed(found) == [
        "2 groups (3 subscriptions): no consumers, no movement for more than 7 days",
        "under `- name: shop`:",
        "    groups:",
        "      exclude:",
        r"        - 'b\.v1' # 1 subscription",
        "        - 'old' # 2 subscriptions",
    ]


def test_the_pasted_lines_leave_out_the_dead_groups_and_nothing_else() -> None:
    names = ["a.b", "it's", "x(1)", "tab\there", "${HOME}", "$$", "ü 🐟", "-", "# no", "[a]*"]
    lines = proposed(survey(*map(sub, names)))[2:]
    pasted = source_of("\n".join(lines) + "\n")
    rows = [*map(sub, names), sub("aXb"), sub("x1"), sub("aaa")]
    assert [row.group for row in shown(pasted, survey(*rows))] == ["aXb", "x1", "aaa"]


def test_the_lines_keep_the_patterns_of_the_config() -> None:
    more = "    groups: {include: ['[a-z].*'], exclude: [tmp, 'x$${']}\n"
    more = more.replace("x$${", r"x\$\{")
    lines = proposed(survey(sub("old"), sub("tmp"), sub("9")), more)
    assert lines[1] == "under `- name: shop`, instead of its `groups`:"
    again = source_of("\n".join(lines[2:]) + "\n").groups  # type: ignore[attr-defined]
    assert again.include == ("[a-z].*",)
    assert again.exclude == ("tmp", r"x\$\{", "old")


def test_queues_are_excluded_under_destinations() -> None:
    lines = proposed(survey(queue("old"), queue("old", vhost="b"), queue("live")), base=RABBIT)
    assert lines[2:] == [
        "    destinations:",
        "      exclude:",
        "        - 'live' # 1 subscription",
        "        - 'old' # 2 subscriptions",
    ]
    source_of("\n".join(lines[2:]) + "\n", base=RABBIT)


@pytest.mark.parametrize(
    "more",
    [
        sub("old", "mails", consumers=1),
        sub("old", "mails", consumers=None),
        sub("old", "mails", "moved"),
    ],
    ids=["consumers", "unknown consumers", "moved"],
)
def test_a_name_with_a_sign_of_life_anywhere_is_not_proposed(more: Surveyed) -> None:
    assert proposed(survey(sub("old"), more)) == []


def test_movement_on_a_topic_that_is_not_shown_is_a_sign_of_life() -> None:
    hidden = "    destinations: {exclude: [tmp]}\n"
    assert proposed(survey(sub("g"), sub("g", "tmp", "moved")), hidden) == []
    (head, *_) = proposed(survey(sub("g"), sub("g", "tmp")), hidden)
    assert head.startswith("1 group (1 subscription): ")


def test_a_queue_of_the_same_name_elsewhere_is_no_evidence() -> None:
    lines = proposed(survey(queue("q"), queue("q", "drained", vhost="b")), base=RABBIT)
    assert len(lines) == 3
    assert lines[0] == "1 destination (2 subscriptions): no consumers, last movement unknown"


def test_what_needs_no_consumers_is_not_proposed() -> None:
    found = survey(queue("a.dlq"), queue("old"))
    lines = proposed(
        found, "thresholds: [{match: {destination: '.*dlq'}, consumers_expected: no}]\n", RABBIT
    )
    assert [line for line in lines if "- '" in line] == ["        - 'old' # 1 subscription"]


def test_a_caught_up_topic_does_not_hide_that_a_group_is_dead() -> None:
    lines = proposed(survey(sub("old"), sub("old", "quiet", "drained")), days=1.0)
    assert lines[0] == "1 group (2 subscriptions): no consumers, no movement for more than 1 day"


@pytest.mark.parametrize("stillness", ["drained", "unknown"])
def test_unknown_is_said_and_its_lines_are_comments(stillness: Stillness) -> None:
    lines = proposed(survey(sub("who", stillness=stillness), sub("dead")))
    head, place, line = lines[-3:]
    assert head == "1 group (1 subscription): no consumers, last movement unknown"
    assert place == "under `groups: exclude:` those that you know to be dead:"
    assert line == "        # - 'who' # 1 subscription"
    pasted = source_of("\n".join([*lines[2:-3], line]) + "\n")
    assert pasted.groups.exclude == ("dead",)  # type: ignore[attr-defined]


def test_only_some_of_many_unknown_names_are_listed() -> None:
    lines = proposed(survey(*(sub(f"g{n}", stillness="unknown") for n in range(MOST_UNKNOWN + 5))))
    assert len(lines) == MOST_UNKNOWN + 3
    assert lines[-1] == "        # and 5 more"


def test_what_is_excluded_already_is_not_proposed_again() -> None:
    assert proposed(survey(sub("old")), "    groups: {exclude: [old]}\n") == []
    assert proposed(survey(sub("a", "tmp")), "    destinations: {exclude: [tmp]}\n") == []


def test_groups_given_by_name_are_removed_from_there() -> None:
    _, line = proposed(
        survey(sub("old"), sub("new", consumers=1)), "    groups: {names: [old, new]}\n"
    )
    assert line == "nothing; remove from groups.names: 'old'"


@pytest.mark.parametrize("text", ["a$b", "$", "a$$b", "x${HOME}", "$${", "\n${A}", "'"])
def test_a_text_in_yaml_is_read_back(text: str) -> None:
    found = config_of(f"{KAFKA}    labels: {{a: {yaml_text(text)}}}\n").sources[0]
    assert found.labels == {"a": text}


# Patterns

NAMES = survey(sub("billing-eu"), sub("billing-us", "mails.dlq"), sub("tmp-1"), groups=["idle"])


def notes(more: str, found: Survey = NAMES, base: str = KAFKA) -> list[tuple[str, bool]]:
    return [tuple(note) for note in source_matches(source_of(more, base), found)]  # type: ignore[misc]


def test_each_pattern_shows_how_many_names_it_matches() -> None:
    more = "    groups: {include: ['billing-.*', 'tmp-.*'], exclude: ['.*-us']}\n    destinations: {exclude: ['.*[.]dlq']}\n"
    assert notes(more) == [
        ("destinations.exclude[0] .*[.]dlq: matches 1 of 2 destinations", False),
        ("groups.include[0] billing-.*: matches 2 of 4 groups", False),
        ("groups.include[1] tmp-.*: matches 1 of 4 groups", False),
        ("groups.exclude[0] .*-us: matches 1 of 4 groups", False),
    ]


def test_a_pattern_without_a_match_is_a_warning_and_a_glob_gets_a_suggestion() -> None:
    assert notes("    groups: {include: ['billing-*', 'bliling-.*']}\n") == [
        (
            (
                "groups.include[0] billing-*: matches none of 4 groups; "
                "did you mean `billing-.*`? It matches 2"
            ),
            True,
        ),
        ("groups.include[1] bliling-.*: matches none of 4 groups", True),
    ]


def test_other_lists_of_patterns_are_compared_too() -> None:
    found = notes("    read_committed_groups: [tmp-1]\n    latency: {groups: [x]}\n")
    assert found == [
        ("read_committed_groups[0] tmp-1: matches 1 of 4 groups", False),
        ("latency.groups[0] x: matches none of 4 groups", True),
    ]


def test_without_filters_there_is_nothing_to_say() -> None:
    assert notes("") == []
    assert notes("    groups: {names: [a]}\n") == []


def test_patterns_beside_names_are_not_used() -> None:
    ((text, warning),) = notes("    groups: {names: [a], exclude: [b]}\n")
    assert "not used" in text
    assert warning


def test_vhosts_are_names_of_their_own() -> None:
    found = survey(queue("a"), queue("b", vhost="prod"))
    assert notes("    vhosts: {include: [prod, x]}\n", found, RABBIT) == [
        ("vhosts.include[0] prod: matches 1 of 2 vhosts", False),
        ("vhosts.include[1] x: matches none of 2 vhosts", True),
    ]


def test_a_survey_is_asked_without_filters() -> None:
    more = "    groups: {names: [a], exclude: [b]}\n    destinations: {include: [c]}\n"
    wide: Any = widened(source_of(more))
    assert (wide.groups.names, wide.groups.exclude) == (("a",), ())
    assert wide.destinations.include == (".*",)
    assert widened(source_of()) == source_of()


def thresholds(text: str, **surveys: Survey) -> list[tuple[str, bool]]:
    config = config_of(f"{KAFKA}thresholds: {text}\n")
    return [tuple(note) for note in line_matches("thresholds", config, surveys)]  # type: ignore[misc]


def test_lines_of_thresholds_show_how_many_subscriptions_they_match() -> None:
    found = thresholds(
        "[{match: {group: 'billing-.*'}, lag_messages: 1}, "
        "{match: {destination: orders}, lag_messages: 2}, "
        "{match: {group: billing-eu}, lag_messages: 3}, "
        "{match: {group: 'billing-*'}, lag_messages: 4}, "
        "{match: {system: kafka}, lag_messages: 5}, {lag_messages: 6}]",
        shop=NAMES,
    )
    assert found == [
        ("thresholds[0] (group: billing-.*): matches 2 subscriptions", False),
        (
            (
                "thresholds[1] (destination: orders): matches 2 subscriptions; "
                "earlier lines match 1 of them"
            ),
            False,
        ),
        (
            (
                "thresholds[2] (group: billing-eu): matches 1 subscription, "
                "but earlier lines match all of them"
            ),
            True,
        ),
        (
            (
                "thresholds[3] (group: billing-*): matches no subscription; "
                "did you mean `billing-.*`? It matches 2"
            ),
            True,
        ),
    ]


def test_lines_of_scaling_are_compared_too() -> None:
    config = config_of(
        f"{KAFKA}scaling: [{{match: {{group: 'billing-*'}}}}, {{match: {{destination: orders}}}}]\n"
    )
    assert [tuple(note) for note in line_matches("scaling", config, {"shop": NAMES})] == [
        (
            (
                "scaling[0] (group: billing-*): matches no subscription; "
                "did you mean `billing-.*`? It matches 2"
            ),
            True,
        ),
        ("scaling[1] (destination: orders): matches 2 subscriptions", False),
    ]


def test_what_matches_nothing_is_no_mistake_while_a_source_could_not_be_read() -> None:
    assert thresholds("[{match: {group: x}, lag_messages: 1}]") == [
        (
            "thresholds[0] (group: x): matches no subscription of the sources that could be read",
            False,
        )
    ]


def test_what_is_switched_off_is_said() -> None:
    found = switched_off(
        config_of(
            f"{KAFKA}thresholds: [{{match: {{group: a}}, lag_seconds: off, stop_seconds: off}}, "
            "{match: {group: b}, consumers_expected: false}, {lag_messages: 5, consume_ratio: off}]"
        )
    )
    assert found == [
        "thresholds[0] (group: a): lag_seconds, stop_seconds off: not compared, and no alert uses it",
        "thresholds[1] (group: b): consumers_expected is false: having no consumers is not a fault",
        "thresholds[2] (everything else): consume_ratio off: not compared, and no alert uses it",
    ]


# The report


class Asked:
    """A collector with this survey."""

    def __init__(self, found: Survey | CollectError, *, connected: bool = True) -> None:
        self.found = found
        self.connected = connected
        self.seconds: list[float] = []

    def check(self, _: Any) -> list[Finding]:
        return [Finding("connection", self.connected, "3 brokers", required=True)]

    def survey(self, _: Any, seconds: float) -> Survey:
        self.seconds.append(seconds)
        if isinstance(self.found, CollectError):
            raise self.found
        return self.found

    def close(self) -> None:
        pass


def reported(
    monkeypatch: pytest.MonkeyPatch, asked: Asked, more: str = "", days: float = 7.0
) -> list[tuple[str, str]]:
    monkeypatch.setattr(report, "make_collector", lambda *_: asked)
    found = report.Report(config_of(KAFKA + more), days)
    lines: list[tuple[str, str]] = [(line.mark, line.text) for line in found.lines()]
    assert found.good is asked.connected
    return lines


def test_the_report_has_features_writes_patterns_and_exclusions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = Asked(survey(sub("old"), sub("live", consumers=1)))
    lines = reported(
        monkeypatch,
        asked,
        "    groups: {include: ['.*', 'x-*']}\nthresholds: [{match: {group: old}, lag_seconds: off}]\n",
        2.0,
    )
    assert asked.seconds == [172_800.0]
    assert [mark for mark, _ in lines[:9]] == [
        *("note", "", "ok", "note", "note", "warning", "exclude", "paste", ""),
    ]
    assert lines[0][1].startswith("thresholds[0] (group: old): lag_seconds off")
    assert lines[3][1].startswith("the probe writes: if the user has the rights: topic ")
    assert "groups.include[1] x-*: matches none of 2 groups" in lines[5][1]
    assert lines[-2:] == [
        ("", "\nthresholds"),
        ("note", "thresholds[0] (group: old): matches 1 subscription"),
    ]


def test_a_switched_off_probe_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = reported(monkeypatch, Asked(survey()), "    probe: {enabled: false}\n")
    assert ("note", "the probe writes: nothing, it is off") in lines


def test_a_source_that_is_down_is_not_asked_for_names(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(survey(), connected=False)
    lines = reported(monkeypatch, asked, "    groups: {include: [a]}\n")
    assert asked.seconds == []
    assert lines[-1] == ("failed", "connection: 3 brokers")


def test_names_that_could_not_be_read_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    more = "    groups: {include: [a]}\nthresholds: [{match: {group: b}, lag_messages: 1}]\n"
    lines = reported(monkeypatch, Asked(CollectError("timeout", "no response")), more)
    assert ("note", "names could not be read for the patterns: no response") in lines
    assert lines[-1][0] == "note"
    partly = survey(sub("z"), problems=[Problem("timeout", "group x", "no response")])
    lines = reported(monkeypatch, Asked(partly), more)
    assert ("note", "some names may be missing: group x: no response") in lines
    assert ("warning", "groups.include[0] a: matches none of 1 groups") in lines
    assert lines[-1][0] == "note"


# What the systems say


@pytest.mark.parametrize(
    ("offset", "recent", "expected"),
    [
        (50, 60, "still"),
        (60, 60, "drained"),
        (61, 60, "moved"),
        (50, -1, "still"),
        (100, -1, "drained"),
        (5, 10, "drained"),
        (5, 11, "still"),
        (101, 60, "unknown"),
        (None, 60, "unknown"),
        (50, None, "unknown"),
        (75, 90, "drained"),
        (75, 91, "still"),
    ],
)
def test_a_position_is_compared_with_the_first_recent_record(
    offset: int | None, recent: int | None, expected: str
) -> None:
    backlog = log_backlog(
        {"t": log((10, 100))}, {"g": {"t": {0: offset}}}, drained={("t", 0, False): (70, 90)}
    )
    known = {} if recent is None else {("t", 0): recent}
    assert _stillness(backlog, "g", "t", 0, offset, known) == expected


def test_one_partition_that_moved_or_is_unknown_decides() -> None:
    assert worst({"still", "moved", "unknown"}) == "moved"
    assert worst({"still", "unknown"}) == "unknown"
    assert worst({"still", "drained"}) == "still"
    assert worst({"drained"}) == "drained"
    assert worst(set()) == "drained"


def test_a_topic_that_does_not_exist_is_unknown() -> None:
    backlog = log_backlog({})
    assert Positions("g", {}).offsets == {}
    assert _stillness(backlog, "g", "t", 0, 5, {("t", 0): 1}) == "unknown"


OLD, NEW = "2020-01-01T12:00:00.000+00:00", "2099-01-01T12:00:00.000+00:00"


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"idle_since": OLD}, "still"),
        ({"idle_since": "2020-01-01 12:00:00"}, "still"),
        ({"idle_since": NEW}, "unknown"),
        ({"idle_since": "yesterday"}, "unknown"),
        ({"idle_since": OLD, "messages": 0}, "still"),
        ({"messages": 0}, "drained"),
        ({"head_message_timestamp": 1_000_000_000}, "still"),
        ({"head_message_timestamp": 4_000_000_000}, "unknown"),
        ({"head_message_timestamp": ""}, "unknown"),
        ({"type": "stream"}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_a_queue_is_still_if_it_is_idle_or_its_oldest_message_is_old(
    columns: dict[str, Any], expected: Stillness
) -> None:
    row = {"name": "q", "vhost": "v", "type": "classic", "messages": 5, "consumers": 0, **columns}
    hidden = {**row, "name": "hidden"}
    found = survey_rabbitmq(
        [row, hidden], lambda each: each["name"] == "q", lambda name: name[1].upper(), 604_800.0
    )
    assert found.subscriptions == [Surveyed("v", "Q", None, 0, expected)]
    assert found.destinations == {("v", "Q")}


def nsq_backlog(*consumers: int | None, problems: Sequence[Problem] = ()) -> QueueBacklog:
    places = [Place(None, "t", "c", f"nsqd-{n}") for n in range(len(consumers))]
    return QueueBacklog(
        NOW,
        depths=[Depth(place, 5) for place in places],
        counts=[Counts(p, 5, 9, 4, 0, n) for p, n in zip(places, consumers, strict=True)],
        destinations=frozenset({(None, "t", "nsqd-0"), (None, "empty", "nsqd-0")}),
        problems=problems,
    )


def test_consumers_of_a_channel_are_those_on_all_nsqds() -> None:
    found = survey_nsq(nsq_backlog(0, 2))
    assert found.subscriptions == [Surveyed(None, "t", "c", 2, "unknown")]
    assert found.destinations == {(None, "t"), (None, "empty")}
    assert found.groups == {"c"}
    assert survey_nsq(nsq_backlog(0, None)).subscriptions[0].consumers is None
    down = nsq_backlog(0, 0, problems=[Problem("timeout", "nsqd-9", "no response")])
    assert survey_nsq(down).subscriptions[0].consumers is None
