"""What `check` says about the names of real brokers: who may be excluded, and what patterns match."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from testbed import nsq_data, rabbit_data
from testbed.exporter import kafka_source, nsq_source, rabbit_source
from testbed.kafka import Kafka
from testbed.kafka_data import commit_offsets, create_topic, produce
from testbed.kafka_load import Reader
from testbed.nsq import NsqCluster
from testbed.nsq_data import NsqConsumer
from testbed.rabbit_data import RabbitConsumer
from testbed.rabbitmq import RabbitCluster
from testbed.waiting import wait_until

DAY_MS = 86_400_000


def checked(
    folder: Path, source: Mapping[str, Any], *options: str, thresholds: Sequence[Any] = ()
) -> str:
    """The output of a check that found all that it needs."""
    config = folder / "check.yaml"
    config.write_text(json.dumps({"sources": [source], "thresholds": thresholds}))
    command = [sys.executable, "-m", "exporter", "check", str(config), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pasted(printed: str) -> dict[str, Any]:
    """The lines to paste, as keys and values."""
    lines = re.findall(r"^    .*$", printed, re.MULTILINE)
    found: dict[str, Any] = yaml.safe_load("\n".join(lines)) or {}
    return found


def unknown(printed: str) -> list[str]:
    """The names whose last movement is unknown."""
    return re.findall(r"^ +# - '(.*)' #", printed, re.MULTILINE)


def test_kafka_groups_that_have_left_old_records_unread(kafka: Kafka, tmp_path: Path) -> None:
    """Of one topic the records are 20, 10 and 1 days old, of another one all are old and read."""
    address, now = kafka.bootstrap, round(time.time() * 1000)
    never = {"retention.ms": "-1"}
    create_topic(address, "names-orders", 1, config=never)
    for days in (20, 10, 1):
        produce(address, "names-orders", 0, 10, timestamp_ms=now - days * DAY_MS)
    create_topic(address, "names-old", 1, config=never)
    produce(address, "names-old", 0, 5, timestamp_ms=now - 40 * DAY_MS)
    at = {"names.dead": 10, "names-late": 20, "names-live": 25, "names-member": 5}
    for group, offset in at.items():
        commit_offsets(address, group, {("names-orders", 0): offset})
    commit_offsets(address, "names.dead", {("names-old", 0): 5})
    commit_offsets(address, "names-caught-up", {("names-old", 0): 5})
    source = kafka_source(
        address,
        destinations={"include": ["names-.*"], "exclude": ["names-o*"]},
        groups={"include": ["names.*"], "exclude": ["names-nobody"]},
        probe={"enabled": False},
        deadline="30s",
    )
    thresholds = [{"match": {"group": "names-live"}, "lag_messages": 5}]
    with Reader(address, "names-member", "names-orders") as reader:
        wait_until(lambda: reader.done > 0, "a member that reads", 60)
        printed = checked(tmp_path, source, thresholds=thresholds)
    assert pasted(printed) == {
        "groups": {"include": ["names.*"], "exclude": ["names-nobody", r"names\.dead"]}
    }
    assert (
        "exclude 1 group (2 subscriptions): no consumers, no movement for more than 7 days"
        in printed
    )
    assert set(unknown(printed)) == {"names-late", "names-caught-up"}
    assert "warning destinations.exclude[0] names-o*: matches none of " in printed
    assert "did you mean `names-o.*`? It matches 2\n" in printed
    assert re.search(r"note +groups.include\[0\] names.*: matches 5 of \d+ groups\n", printed)
    assert "thresholds[0] (group: names-live): matches 1 subscription\n" in printed
    # After 30 days nothing of the topic is old enough.
    assert pasted(checked(tmp_path, source, "--idle-days", "30")) == {}
    excluded = {**source, **pasted(printed)}
    printed = checked(tmp_path, excluded)
    assert pasted(printed) == {}
    assert r"groups.exclude[1] names\.dead: matches 1 of " in printed


def test_rabbitmq_queues_with_an_old_message_at_the_head(
    rabbitmq: RabbitCluster, tmp_path: Path
) -> None:
    """RabbitMQ 4.0 says the timestamp of the first message for classic queues only."""
    url, old = rabbitmq.amqp_url(), round(time.time()) - 20 * 86_400
    for name in ("dead", "young", "read", "empty"):
        rabbit_data.declare(url, f"names.{name}")
    rabbit_data.declare(url, "names.quorum", "quorum")
    for name in ("dead", "read", "quorum"):
        rabbit_data.publish(url, f"names.{name}", 3, timestamp_seconds=old)
    rabbit_data.publish(url, "names.young", 3)
    source = rabbit_source(rabbitmq, destinations={"include": [r"names\..*"]})
    expected = {rf"names\.{name}" for name in ("dead", "empty", "young", "quorum")}

    def excluded(printed: str) -> list[str]:
        found: list[str] = pasted(printed).get("destinations", {}).get("exclude", [])
        return found

    end = time.monotonic() + 120
    with RabbitConsumer(url, "names.read", rate=0):
        printed = checked(tmp_path, source)
        # The broker updates what it says of queues at intervals.
        while {*excluded(printed), *unknown(printed)} != expected and time.monotonic() < end:
            printed = checked(tmp_path, source)
    assert {*excluded(printed), *unknown(printed)} == expected
    assert excluded(printed)[0] == r"names\.dead"
    assert {r"names\.empty", r"names\.young"} <= set(unknown(printed))
    assert pasted(printed)["destinations"]["include"] == [r"names\..*"]


def test_nsq_channels_without_consumers_are_unknown(nsq: NsqCluster, tmp_path: Path) -> None:
    url = nsq.http_url()
    nsq_data.create_channel(url, "orders", "dead")
    nsq_data.create_channel(url, "mails", "dead")
    nsq_data.create_channel(url, "orders", "live")
    nsq_data.publish_all(url, "orders", [b"x"] * 5)
    with NsqConsumer(nsq.tcp_address(), "orders", "live") as consumer:
        consumer.wait_processed(5)
        printed = checked(tmp_path, nsq_source(nsq, groups={"include": ["dead|live", "mails-*"]}))
    assert pasted(printed) == {}
    assert unknown(printed) == ["dead"]
    assert "unknown 1 group (2 subscriptions): no consumers, last movement unknown\n" in printed
    assert "groups.include[0] dead|live: matches 2 of 2 groups" in printed
    assert "warning groups.include[1] mails-*: matches none of 2 groups" in printed
