"""The workload in steps, on real brokers: what it reports is what the brokers have."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from confluent_kafka.admin import ConfigResource

from exporter.load import Load, LoadError, Result, parse_steps, workload_of
from testbed import nsq_data, rabbit_data
from testbed.kafka import Kafka
from testbed.kafka_data import admin_client, committed_offsets, end_offsets, produce
from testbed.nsq import NsqCluster
from testbed.rabbitmq import RabbitCluster
from testbed.waiting import wait_until

STEPS = "rate=100 for=5s; fails=30%; fails=0 consumers=0 for=3s; consumers=2 rate=0 for=6s"


def played(system: str, address: str, name: str, steps: str = STEPS) -> list[Result]:
    results: list[Result] = []
    place = workload_of(system, address, name, "readers")
    Load(place).run(parse_steps(steps), threading.Event(), results.append)
    return results


def hold(results: list[Result]) -> int:
    """Hold the figures against what was wanted; returns how many messages were sent."""
    steady, failing, unread, catching_up = results
    sent = sum(result.sent for result in results)
    assert sum(result.processed for result in results) == sent
    assert sum(result.refused + result.errors for result in results) == 0
    assert steady.sent > 0
    assert steady.rejected == 0
    assert failing.rejected > 0
    assert failing.error_rate == pytest.approx(0.3, abs=0.12)
    assert unread.processed == 0
    assert unread.mean is None
    assert catching_up.sent == 0
    assert catching_up.mean is not None
    assert catching_up.mean > 1.0
    for result in (steady, catching_up):
        assert (
            0 < (result.p50 or 0) <= (result.p95 or 0) <= (result.p99 or 0) <= (result.longest or 0)
        )
    return sent


def test_a_workload_on_kafka(kafka: Kafka) -> None:
    # A member that joins waits for the group's first rebalance, and one that is gone for the next: longer steps.
    steps = STEPS.replace("for=5s", "for=15s").replace("for=6s", "for=20s")
    sent = hold(played("kafka", kafka.bootstrap, "load-kafka", steps))
    ends = end_offsets(kafka.bootstrap, [("load-kafka", partition) for partition in range(4)])
    assert sum(ends.values()) == sent
    committed = committed_offsets(kafka.bootstrap, "readers")
    assert {key: value for key, value in committed.items() if value} == {
        key: value for key, value in ends.items() if value
    }


def test_a_workload_on_rabbitmq(rabbitmq: RabbitCluster) -> None:
    url = rabbitmq.amqp_url()
    hold(played("rabbitmq", url, "load-rabbit"))
    assert rabbit_data.ready_count(url, "load-rabbit") == 0


def test_a_workload_on_nsq(nsq: NsqCluster) -> None:
    sent = hold(played("nsq", nsq.http_url(), "load-nsq"))
    assert nsq_data.topic_stats(nsq.http_url(), "load-nsq")["message_count"] == sent


def test_messages_of_others_are_in_no_figure(kafka: Kafka) -> None:
    """The topic has messages without a mark, and those of an earlier run."""
    topic = "load-shared"
    (earlier,) = played("kafka", kafka.bootstrap, topic, "rate=100 for=3s consumers=0")
    strangers = [random.randbytes(100) for _ in range(500)] + [b"", b"{}"]
    produce(kafka.bootstrap, topic, n=len(strangers), value=strangers.__getitem__)
    steps = "rate=50 for=8s consumers=0; rate=0 consumers=2 for=20s"
    waiting, catching_up = played("kafka", kafka.bootstrap, topic, steps)
    assert waiting.foreign == waiting.processed == 0
    assert catching_up.foreign == earlier.sent + len(strangers)
    assert catching_up.processed == waiting.sent
    # They were sent over eight seconds, and consumed after these.
    assert 4.0 < (catching_up.mean or 0) < 20.0
    assert 4.0 < (catching_up.p50 or 0) < 20.0
    assert (catching_up.longest or 0) > 8.0


def test_it_goes_on_behind_a_broker_that_was_killed(nsq: NsqCluster) -> None:
    results: list[Result] = []
    place = workload_of("nsq", nsq.http_url(), "load-killed", "readers")
    load, stop = Load(place), threading.Event()
    steps = parse_steps("rate=50 for=4s; for=6s; for=20s")
    thread = threading.Thread(target=load.run, args=(steps, stop, results.append))
    thread.start()
    wait_until(lambda: len(results) == 1, "a healthy step")
    nsq.kill("nsqd-0")
    wait_until(lambda: len(results) == 2, "a step without a broker")
    nsq.restart("nsqd-0")
    thread.join(120)
    assert not thread.is_alive()
    healthy, dead, back = results
    assert healthy.error_rate == 0
    assert dead.refused > 0
    assert dead.errors > 0
    assert back.processed > 0


@pytest.mark.parametrize(
    ("system", "address", "words"),
    [
        ("kafka", "127.0.0.1:1", "no broker answers; check the address"),
        ("rabbitmq", "amqp://guest:secret@127.0.0.1:1", "cannot connect to RabbitMQ"),
        ("rabbitmq", "nonsense", "cannot connect to RabbitMQ"),
        ("nsq", "http://127.0.0.1:1", "cannot use nsqd"),
        ("nsq", "nonsense", "cannot use nsqd"),
    ],
)
def test_an_address_that_is_wrong_is_told_of(system: str, address: str, words: str) -> None:
    with pytest.raises(LoadError, match=words) as caught:
        played(system, address, "x")
    assert "secret" not in str(caught.value)


def test_a_name_or_a_user_that_is_refused_is_told_of(
    nsq: NsqCluster, rabbitmq: RabbitCluster
) -> None:
    with pytest.raises(LoadError, match="nsqd rejected topic=bad%20name%21: INVALID_TOPIC"):
        workload_of("nsq", nsq.http_url(), "bad name!", "readers").prepare(1)
    wrong = rabbitmq.amqp_url().replace("admin-secret", "wrong")
    with pytest.raises(LoadError, match="check user, password and vhost"):
        workload_of("rabbitmq", wrong, "q", "").prepare(1)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "exporter", "load", *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)


def test_the_command_tells_a_table_or_a_line_a_step(nsq: NsqCluster, tmp_path: Path) -> None:
    told = command("nsq", nsq.http_url(), "--steps", "rate=50 for=2s; fails=50%", "--json")
    assert (told.returncode, told.stderr) == (0, "")
    first, second = map(json.loads, told.stdout.splitlines())
    assert first["error_rate"] == 0
    assert 0.2 < second["error_rate"] < 0.8
    assert first["step"]["rate"] == 50
    steps = tmp_path / "steps"
    steps.write_text("rate=50 for=1s\nconsumers=2\n")
    table = command("nsq", nsq.http_url(), "--steps", f"@{steps}")
    assert table.returncode == 0
    assert "50/s of 100 B, 1 consumer" in table.stdout
    assert "50/s of 100 B, 2 consumers" in table.stdout


def test_the_command_refuses_what_makes_no_sense(tmp_path: Path) -> None:
    wrong = command("nsq", "http://127.0.0.1:1", "--steps", "speed=9")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("step 1: speed=9: expected one of rate=")
    missing = command("nsq", "http://127.0.0.1:1", "--steps", f"@{tmp_path / 'none'}")
    assert missing.returncode == 2
    for retention, words in (("10", "a duration needs a unit"), ("10m", "Kafka topics only")):
        refused = command("nsq", "http://127.0.0.1:1", "--retention", retention)
        assert refused.returncode == 2
        assert words in refused.stderr
    unreachable = command("nsq", "http://127.0.0.1:1")
    assert unreachable.returncode == 1
    assert "cannot use nsqd" in unreachable.stderr


def test_steps_begin_again_until_told_to_stop(nsq: NsqCluster) -> None:
    line = ["nsq", nsq.http_url(), "--destination", "load-again", "--repeat", "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "exporter", "load", *line, "--steps", "rate=20 for=1s; rate=40"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        rates = [json.loads(process.stdout.readline())["step"]["rate"] for _ in range(5)]
        process.terminate()
        last = [json.loads(line) for line in process.stdout]
    assert process.returncode == 0
    assert rates == [20, 40, 20, 40, 20]
    assert last[-1]["seconds"] > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_storms_of_signals_end_it_in_order(nsq: NsqCluster, number: signal.Signals) -> None:
    """The first ends it, the others cut nothing short: the report of what was done comes all the same."""
    line = ["nsq", nsq.http_url(), "--destination", "load-storm", "--json", "--steps", "rate=50"]
    with subprocess.Popen(
        [sys.executable, "-m", "exporter", "load", *line],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until(lambda: nsq_data.stats(nsq.http_url(), "load-storm")["topics"], "the load")
        for _ in range(20):
            process.send_signal(number)
            time.sleep(0.002)
        printed, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")
    assert [json.loads(line)["step"]["rate"] for line in printed.splitlines()] == [50]


def test_a_topic_is_made_with_the_retention_that_is_wanted(kafka: Kafka) -> None:
    place = workload_of("kafka", kafka.bootstrap, "load-short", "readers", retention=600.0)
    place.prepare(1)
    resource = ConfigResource(ConfigResource.Type.TOPIC, "load-short")
    client = admin_client(kafka.bootstrap)
    config = client.describe_configs([resource])[resource].result(30)
    assert config["retention.ms"].value == "600000"
