"""A group or a member's data that the client library cannot handle does not hide others."""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from exporter.collectors.kafka.ages.lookups import Lookup, Lookups
from exporter.collectors.kafka.ages.record_times import RecordTime, record_time, size
from exporter.collectors.kafka.client import KafkaClient
from exporter.collectors.kafka.groups import describe_groups
from exporter.collectors.kafka.offsets import read_commits, read_ends
from exporter.collectors.kafka.record_reader import RecordReader, TopicPartitionOffset
from exporter.collectors.kafka.topics import TopicFacts, read_topology
from exporter.model import Problem, Until
from testbed.exporter import Exporter, Scrape, kafka_source
from testbed.kafka import KafkaCluster
from testbed.kafka_data import commit_offsets, create_topic, produce
from testbed.kafka_protocol import commit_raw, join_raw
from testbed.kafka_raw_headers import produce_with_header
from tests.support.checking import check

Key = tuple[str, str, int]
ODD = ['a"b\\c\nd', "ü😀", " ", "..", "a/b", "x" * 20_000]
"""Ids that a broker accepts, and that the library can request."""
LONGEST = 1_000
UNPARSED = "unparsed"
"""A group whose member has an invalid assignment."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    """One broker with groups of every odd id beside plain ones."""
    with KafkaCluster(brokers=1) as cluster:
        address = cluster.bootstrap
        create_topic(address, "orders", 2)
        produce(address, "orders", 0, 10)
        commit_offsets(address, "billing", {("orders", 0): 4})
        commit_offsets(address, "ab", {("orders", 0): 5})
        for group in ODD:
            commit_offsets(address, group, {("orders", 0): 6})
        for raw in (b"", b"\0abc", b"ab\0cd"):
            commit_raw(address, raw, {("orders", 0): 1})
        commit_raw(address, b"\xff\xed\xa0\x80", {("orders", 0): 7})
        join_raw(address, UNPARSED.encode(), b"\x01\x02 none at all")
        commit_offsets(address, "others", {("orders", 0): 8})
        yield cluster


def shown(group: str) -> str:
    """Return the label of a group: the end of a very long id becomes a digest."""
    if len(group) <= LONGEST:
        return group
    return f"{group[:LONGEST]}...{sha256(group.encode()).hexdigest()[:12]}"


TRUTH: dict[Key, int] = {
    ("billing", "orders", 0): 6,
    ("ab", "orders", 0): 5,
    ("others", "orders", 0): 2,
    **{(shown(group), "orders", 0): 4 for group in ODD},
}
UNDECODED = re.compile("\ufffd+")
"""What Kafka makes of an id that is not valid UTF-8."""


def named(lags: dict[Key, int]) -> dict[Key, int]:
    return {key: lag for key, lag in lags.items() if not UNDECODED.fullmatch(key[0])}


def not_shown(page: Scrape, source: str = "test") -> dict[str, float]:
    found = page.find("mq_groups_not_shown", source=source)
    return {dict(labels)["kind"]: count for labels, count in found.items() if count}


@pytest.fixture(scope="module")
def exporter(cluster: KafkaCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    address = cluster.bootstrap
    sources = [
        kafka_source(address),
        kafka_source(address, "named", groups={"names": ["billing", "", "ab\0cd", "y" * 40_000]}),
        kafka_source(address, "without", groups={"exclude": ["", "ab"]}),
    ]
    with Exporter(tmp_path_factory.mktemp("parts"), sources) as exporter:
        exporter.wait(lambda page: named(page.lags()) == TRUTH, "the other groups")
        yield exporter


def test_groups_that_cannot_be_asked_for_are_counted_and_hide_no_other(exporter: Exporter) -> None:
    page = exporter.wait(
        lambda page: not_shown(page) == {"empty_id": 2, "unreadable_id": 1},
        "the group of the same name to be noticed",
    )
    assert named(page.lags()) == TRUTH
    assert page.value("mq_up", source="test") == 1
    page = exporter.cycles(2)
    assert page.value("mq_collect_success", source="test", task="backlog") == 1
    assert page.value("mq_collector_restarts_total", source="test") == 0


def test_an_id_that_is_no_utf_8_is_shown_as_kafka_reads_it(exporter: Exporter) -> None:
    lags = exporter.scrape().lags()
    undecoded = [key for key in lags if UNDECODED.fullmatch(key[0])]
    assert len(undecoded) == 1
    assert lags[undecoded[0]] == 3


def test_the_log_names_them_once_and_says_what_to_do(exporter: Exporter) -> None:
    exporter.wait(lambda page: len(not_shown(page)) == 2, "both kinds")
    exporter.cycles(2)
    lines = [json.loads(line) for line in exporter.log().splitlines()]
    told = [
        (line["kind"], line["count"])
        for line in lines
        if (line["event"], line.get("source")) == ("groups.not_shown", "test")
    ]
    assert sorted(set(told)) == [("empty_id", 2), ("unreadable_id", 1)]
    assert len(told) <= 3
    advice = {line["kind"]: line["advice"] for line in lines if line["event"] == "groups.not_shown"}
    assert all("group.id" in text and "groups.exclude" in text for text in advice.values())


def test_names_of_the_config_that_cannot_be_asked_for_hide_no_other(exporter: Exporter) -> None:
    page = exporter.wait(lambda page: page.lags("named"), "the named group")
    assert page.lags("named") == {("billing", "orders", 0): 6}
    assert not_shown(page, "named") == {"empty_id": 1, "unreadable_id": 2}


def test_groups_that_are_excluded_are_not_counted(exporter: Exporter) -> None:
    page = exporter.cycles(4, "without")
    assert not_shown(page, "without") == {}
    assert ("ab", "orders", 0) not in page.lags("without")


def test_a_member_whose_assignment_cannot_be_parsed_hides_no_other_group(
    exporter: Exporter,
) -> None:
    page = exporter.wait(
        lambda page: page.value(
            "mq_collect_failures_total", task="consumers", reason="partial", source="test"
        ),
        "the description to fail",
    )
    assert page.value("mq_group_members", source="test", group="billing") == 0
    assert page.value("mq_up", source="test") == 1
    lines = [json.loads(line) for line in exporter.log().splitlines()]
    subjects = [
        subject
        for line in lines
        if (line.get("task"), line.get("source")) == ("consumers", "test")
        for subject in line.get("subjects", ())
    ]
    assert set(subjects) == {f"group {UNPARSED}"}


def test_check_names_them_and_does_not_fail(cluster: KafkaCluster, tmp_path: Path) -> None:
    done = check(tmp_path, kafka_source(cluster.bootstrap))
    assert (done.code, done.errors) == (0, ""), done.printed
    assert re.search(r"missing groups with empty id: 2 groups .*groups\.exclude", done.printed)
    assert re.search(
        r"missing groups with unreadable id: listed more than once: 'ab'", done.printed
    )
    assert re.search(rf"missing consumers: 1 of \d+ groups .*group {UNPARSED}: ", done.printed)


def test_check_says_which_named_group_does_not_exist(cluster: KafkaCluster, tmp_path: Path) -> None:
    source = kafka_source(cluster.bootstrap, groups={"names": ["biling", "others", "ab"]})
    done = check(tmp_path, source)
    assert "group 'biling' does not exist; did you mean 'billing'?" in done.printed
    assert (done.code, done.errors) == (0, ""), done.printed


# Single calls

LONE = "\ud800"
CUT = "orders\0"


def deadline() -> Until:
    return Until(30)


@pytest.fixture(scope="module")
def client(cluster: KafkaCluster) -> KafkaClient:
    return KafkaClient("parts", lambda: {"bootstrap.servers": cluster.bootstrap})


def subjects(problems: Iterable[Problem]) -> set[str]:
    return {problem.subject for problem in problems}


def test_commits_of_the_others_are_read(client: KafkaClient) -> None:
    commits = read_commits(client, ["billing", "", "others"], {"orders": True}, deadline())
    assert {g: p.offsets for g, p in commits.positions.items()} == {
        "billing": {"orders": {0: 4}},
        "others": {"orders": {0: 8}},
    }
    assert subjects(commits.problems) == {"offsets of group "}


def test_the_others_are_described(client: KafkaClient) -> None:
    look = describe_groups(client, ["billing", "", "others"], lambda _: True, deadline())
    assert set(look.groups) == {"billing", "others"}
    assert subjects(look.problems) == {"group "}


def test_the_others_topics_ids_and_configurations_are_read(client: KafkaClient) -> None:
    facts = TopicFacts(client)
    names = ["orders", "", LONE * 2, "payments"]
    assert subjects(facts.read_policies(names, 0.0, deadline())) == {
        "configuration of topic ",
        f"configuration of topic {LONE * 2}",
    }
    assert set(facts.retention()) == {"orders"}
    assert subjects(facts.read_ids(["orders", ""], deadline())) == {"topic "}
    assert facts.known("orders")


def test_the_others_ends_are_read(client: KafkaClient) -> None:
    metadata = client.metadata(deadline(), 10)
    topology = read_topology(metadata, defaultdict(bool, orders=True))
    odd = replace(topology, leaders={CUT: (0,), LONE: (0,), **topology.leaders})
    ends = read_ends(client, odd, deadline())
    assert list(ends.logs["orders"].end) == [10, 0]
    assert (list(ends.logs[CUT].end), list(ends.logs[LONE].end)) == ([None], [None])
    assert subjects(ends.problems) == {f"{CUT}/0", f"{LONE}/0"}
    assert not ends.silent


def test_the_other_times_are_looked_up(client: KafkaClient) -> None:
    lookups = Lookups(client, {"orders": (0, 0), CUT: (0,)})
    asked = [Lookup("orders", 0, 0), Lookup("orders", 1, 1 << 70), Lookup(CUT, 0, 0)]
    found = list(lookups.ask(asked, deadline()))
    assert [(each.lookup.topic, each.offset) for each in found] == [("orders", 0)]
    assert subjects(lookups.problems) == {"time of orders/1", f"time of {CUT}/0"}


def test_the_other_records_are_read(client: KafkaClient) -> None:
    reader = RecordReader(client.properties, committed_only=False)
    requests = [
        TopicPartitionOffset(CUT, 0, 0),
        TopicPartitionOffset("orders", 0, 3),
        TopicPartitionOffset("orders", 1, 1 << 70),
    ]
    found = list(
        reader.read([*requests, TopicPartitionOffset("orders", 0, 5)], time.monotonic() + 30)
    )
    reader.close()
    read = {each.requested: each.record.offset() for each in found if each.record is not None}
    assert read == {
        TopicPartitionOffset("orders", 0, 3): 3,
        TopicPartitionOffset("orders", 0, 5): 5,
    }
    refused = {each.requested for each in found if each.fault is not None}
    assert refused == {requests[0], requests[2]}


def test_a_header_whose_name_is_no_utf_8_is_one_record_that_cannot_be_read(
    cluster: KafkaCluster, client: KafkaClient
) -> None:
    """When it was requested twice, the library crashed the process."""
    create_topic(cluster.bootstrap, "headers", 1)
    produce_with_header(cluster.bootstrap, "headers", b"\xff\xfe", b"1700000000")
    produce(cluster.bootstrap, "headers", 0, 1, headers=[("sent", b"1700000000")])
    reader = RecordReader(client.properties, committed_only=False)
    requests = [TopicPartitionOffset("headers", 0, offset) for offset in (0, 1)]
    records = {
        each.requested.offset: each.record
        for each in reader.read(requests, time.monotonic() + 30)
        if each.record is not None
    }
    reader.close()
    for _ in range(1_000):
        # Python specializes code that has run often, and then checks less.
        assert record_time(records[1], "sent").anomaly is None
    own = records[0].timestamp()[1] / 1000
    assert record_time(records[0], "sent") == RecordTime(own, "unreadable")
    assert record_time(records[1], "sent") == RecordTime(1_700_000_000.0, None)
    assert (size(records[0]), size(records[1])) == (1, 1 + 4 + 10)
