"""The floor: one cycle of the exporter's calls to the broker, without processing the answers.

Run it as a separate process, `python -m bench.floor ADDRESS CYCLES`. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from bench.processes import memory

IN_FLIGHT = 100
SECONDS = 60.0
"""Timeout of one request."""
PAUSE_SECONDS = 0.5
"""Pause between two cycles."""


@dataclass(frozen=True, slots=True)
class Floor:
    """The cost of each cycle except the first one, which connects."""

    cpu_seconds: list[float]
    wall_seconds: list[float]
    peak_mb: float


def measure_floor(bootstrap: str, cycles: int, timeout_seconds: float) -> Floor:
    """Run it in a separate process."""
    command = [sys.executable, "-m", "bench.floor", bootstrap, str(cycles)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=timeout_seconds)
    return Floor(**json.loads(done.stdout))


def main() -> None:
    bootstrap, cycles = sys.argv[1], int(sys.argv[2])
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    cpu: list[float] = []
    wall: list[float] = []
    for _ in range(cycles + 1):
        began, used = time.monotonic(), time.process_time()
        _cycle(admin)
        cpu.append(time.process_time() - used)
        wall.append(time.monotonic() - began)
        time.sleep(PAUSE_SECONDS)
    found = {
        "cpu_seconds": cpu[1:],
        "wall_seconds": wall[1:],
        "peak_mb": memory(os.getpid()).peak_mb,
    }
    print(json.dumps(found))


def _cycle(admin: AdminClient) -> None:
    listing = admin.list_consumer_groups(request_timeout=SECONDS)
    metadata = admin.list_topics(timeout=SECONDS)
    _read_groups(admin, [group.group_id for group in listing.result(SECONDS).valid])
    places = [
        TopicPartition(name, partition)
        for name, topic in metadata.topics.items()
        if name[:2] != "__"
        for partition in topic.partitions
    ]
    calls = [
        admin.list_offsets(
            dict.fromkeys(places, spec), isolation_level=level, request_timeout=SECONDS
        )
        for spec, level in (
            (OffsetSpec.earliest(), IsolationLevel.READ_UNCOMMITTED),
            (OffsetSpec.latest(), IsolationLevel.READ_UNCOMMITTED),
            (OffsetSpec.latest(), IsolationLevel.READ_COMMITTED),
        )
    ]
    for futures in calls:
        for future in futures.values():
            future.result(SECONDS)


def _read_groups(admin: AdminClient, groups: list[str]) -> None:
    answers: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
    asked = 0
    for answered in range(len(groups)):
        while asked < len(groups) and asked - answered < IN_FLIGHT:
            group = groups[asked]
            request = [ConsumerGroupTopicPartitions(group)]
            future = admin.list_consumer_group_offsets(request, request_timeout=SECONDS)[group]
            future.add_done_callback(answers.put)
            asked += 1
        answers.get(timeout=SECONDS).result()


if __name__ == "__main__":
    main()
