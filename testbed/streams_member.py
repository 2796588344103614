"""A member of a streams group (KIP-1071) that sends the requests of Kafka Streams.

It reads nothing: tests call `commit` with the positions that it has processed.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Self
from uuid import uuid4

from exporter.collectors.kafka.raw.codec import (
    NO_TAGS,
    Decoder,
    compact_array,
    compact_string,
)
from exporter.collectors.kafka.raw.connection import BrokerConnection
from exporter.collectors.kafka.raw.group_requests import find_coordinators
from exporter.collectors.kafka.raw.security import Security
from exporter.model import Until
from testbed.waiting import wait_until

HEARTBEAT, COMMIT = 88, 8
COMMIT_VERSION = 9
NULL = b"\0"
ABSENT = b"\xff"
LEAVES = -1
NOT_COORDINATOR, UNKNOWN_MEMBER_ID = 16, 25
PASSING = (14, 15)
"""Error codes of a coordinator that is loading or not available yet."""
SUBTOPOLOGY = "0"
BEAT_SECONDS = 0.3
PLAIN = Security(None, None)


class StreamsMember:
    """Joins a group with one subtopology that reads `topic`, for the duration of a `with` block."""

    def __init__(self, bootstrap: str, group: str, topic: str) -> None:
        self._bootstrap = bootstrap.split(",", maxsplit=1)[0]
        self._group = group
        self._topic = topic
        self._id = str(uuid4())
        self._epoch = 0
        self._tasks: list[int] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._connection = self._find_coordinator()
        self._thread.start()
        try:
            wait_until(self._has_tasks, "the member to get its tasks")
        except BaseException:
            self._stopping.set()
            self._connection.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.leave()
        self._stopping.set()
        self._connection.close()

    def leave(self) -> None:
        """Leave the group, once."""
        self._stopping.set()
        self._thread.join(30)
        if self._failure is not None:
            raise self._failure
        if self._epoch != LEAVES:
            self._epoch = LEAVES
            self._beat()

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Commit positions by partition."""
        rows = compact_array(
            struct.pack(">iqi", partition, offset, -1) + NULL + NO_TAGS
            for partition, offset in offsets.items()
        )
        with self._lock:
            body = (
                compact_string(self._group)
                + struct.pack(">i", self._epoch)
                + compact_string(self._id)
                + NULL
                + compact_array([compact_string(self._topic) + rows + NO_TAGS])
                + NO_TAGS
            )
            answer = self._connection.request(COMMIT, COMMIT_VERSION, body, Until(30))
        answer.int32()

        def topic() -> list[int]:
            answer.string()
            errors = answer.array(lambda: _partition_error(answer))
            answer.tags()
            return errors

        assert answer.array(topic) == [[0] * len(offsets)]

    def _find_coordinator(self) -> BrokerConnection:
        with BrokerConnection(self._bootstrap, PLAIN, Until(30)) as first:
            place = wait_until(
                lambda: find_coordinators(first, [self._group], Until(30)).get(self._group),
                "a coordinator",
            )
        assert place is not None
        return BrokerConnection(place, PLAIN, Until(30))

    def _has_tasks(self) -> bool:
        if self._failure is not None:
            raise self._failure
        return bool(self._tasks)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._beat()
                self._stopping.wait(BEAT_SECONDS)
        except Exception as failure:  # noqa: BLE001 - raised where the test is
            self._failure = failure

    def _beat(self) -> None:
        joins, empty = self._epoch == 0, compact_array([])
        with self._lock:
            body = (
                compact_string(self._group)
                + compact_string(self._id)
                + struct.pack(">ii", self._epoch, 0)
                + NULL * 2
                + struct.pack(">i", 60_000 if joins else -1)
                + (self._topology() if joins else ABSENT)
                + self._owned()
                + empty * 2
                + (compact_string("p") if joins else NULL)
                + ABSENT
                + (empty if joins else NULL)
                + NULL * 2
                + b"\0"
                + NO_TAGS
            )
            self._take(self._connection.request(HEARTBEAT, 0, body, Until(30)))

    def _topology(self) -> bytes:
        sources = compact_array([compact_string(self._topic)])
        subtopology = compact_string(SUBTOPOLOGY) + sources + compact_array([]) * 5 + NO_TAGS
        return b"\1" + struct.pack(">i", 1) + compact_array([subtopology]) + NO_TAGS

    def _owned(self) -> bytes:
        if not self._tasks:
            return compact_array([])
        numbers = compact_array(struct.pack(">i", task) for task in self._tasks)
        return compact_array([compact_string(SUBTOPOLOGY) + numbers + NO_TAGS])

    def _take(self, answer: Decoder) -> None:
        answer.int32()
        error, message = answer.int16(), answer.nullable_string()
        if error == NOT_COORDINATOR:
            self._connection.close()
            self._connection = self._find_coordinator()
            return
        if error == UNKNOWN_MEMBER_ID:
            # Heartbeats were too late on a busy machine.
            self._epoch, self._tasks = 0, []
            return
        if error in PASSING:
            return
        assert error == 0, f"{error}: {message}"
        answer.string()
        epoch = answer.int32()
        self._epoch = LEAVES if self._epoch == LEAVES else epoch
        for _ in range(3):
            answer.int32()
        answer.array(lambda: _skip_status(answer))
        tasks = answer.array(lambda: _numbers(answer))
        if tasks:
            self._tasks = [number for numbers in tasks for number in numbers]


def _skip_status(answer: Decoder) -> None:
    answer.int8()
    answer.string()
    answer.tags()


def _numbers(answer: Decoder) -> list[int]:
    """Return the partitions of the subtopology's tasks."""
    answer.string()
    found = answer.array(answer.int32)
    answer.tags()
    return found


def _partition_error(answer: Decoder) -> int:
    answer.int32()
    error = answer.int16()
    answer.tags()
    return error
