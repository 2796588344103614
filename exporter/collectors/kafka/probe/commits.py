"""Commits received probes to a group that the probed broker coordinates: only it is timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import structlog
from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from exporter.collectors.kafka.client import OUTLIVE_SECONDS, KafkaClient
from exporter.collectors.kafka.errors import GONE, describe, kafka_error, reason_of
from exporter.collectors.kafka.probe.layout import choose_group
from exporter.model import Deadline

PATIENCE = 30.0
"""Seconds to wait for a commit before the group is used again; far less than `OUTLIVE_SECONDS`."""
DENIED = 600.0
"""Seconds until commits are tried again after they were denied."""
NOT_ALLOWED = (KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.TOPIC_AUTHORIZATION_FAILED)
Answer = Future[ConsumerGroupTopicPartitions]


class ProbeCommits:
    """Commits by one admin client, and the groups it used. Used by one thread at a time."""

    def __init__(self, client: KafkaClient, topic: str, source: str, *, deletes: bool) -> None:
        """`deletes` is whether the cluster can delete groups."""
        self._client = client
        self._topic = topic
        self._deletes = deletes
        self._groups: dict[int, str] = {}
        self._pending: dict[str, tuple[Answer, float]] = {}
        self._used: dict[str, bool] = {}
        """Groups with commits, and whether the last commit was answered."""
        self._denied_until = 0.0
        self._is_stale = False
        self._is_new = True
        self._logged = ""
        self._log = structlog.get_logger(__name__).bind(source=source)

    def renew(self) -> None:
        """Use a new client from the next round. Any thread may call it."""
        self._is_stale = True

    def begin(self) -> bool:
        """Prepare a round: drop a client that gets no answers; return whether the client is new.

        A request that times out inside librdkafka can abort the process (librdkafka#4605). A client
        keeps asking a group's previous coordinator (librdkafka#3847).
        """
        now = time.monotonic()
        self._pending = {g: p for g, p in self._pending.items() if not p[0].done()}
        if self._is_stale or any(now - at > PATIENCE for _, at in self._pending.values()):
            self._is_stale = False
            self._pending.clear()
            self._client.drop()
            self._is_new = True
        is_new, self._is_new = self._is_new, False
        return is_new

    def commit(
        self,
        broker: int,
        coordinators: Sequence[int],
        position: tuple[int, int],
        answered: Callable[[bool], None],
    ) -> bool:
        """Commit a position (partition, offset) at the broker; return whether an answer will come.

        A thread of librdkafka calls `answered` with whether the commit succeeded.
        """
        if time.monotonic() < self._denied_until:
            return False
        group = choose_group(self._topic, broker, coordinators, self._groups.get(broker))
        if group is None or (group in self._pending and not self._pending[group][0].done()):
            return False
        self._groups[broker] = group
        self._used[group] = False
        request = ConsumerGroupTopicPartitions(group, [TopicPartition(self._topic, *position)])
        future: Answer = self._client.admin.alter_consumer_group_offsets(
            [request], request_timeout=OUTLIVE_SECONDS
        )[group]
        self._pending[group] = (future, time.monotonic())

        def done(answer: Answer) -> None:
            error = _error(answer)
            answered(error is None)
            self._used[group] = error is None
            self._note(error)

        future.add_done_callback(done)
        return True

    def delete(self, deadline: Deadline) -> None:
        """Delete the groups if their coordinators answer.

        Groups whose last commit was not answered get little time.
        """
        if not self._used or not self._deletes:
            return
        left = self._delete(list(self._used), deadline)
        if any(reason_of(error) == "unreachable" for error in left.values()):
            # Their coordinator has moved; a new client finds it.
            self._client.drop()
            left = self._delete(list(left), deadline)
        self._used.clear()
        if left:
            groups, errors = sorted(left), [describe(e, _what_then(e)) for e in left.values()]
            self._log.info("probe.groups_left", groups=groups, error=errors[0])

    def _delete(self, names: list[str], deadline: Deadline) -> dict[str, KafkaError]:
        """Delete these groups; return those that are left, with the errors."""
        futures = self._client.admin.delete_consumer_groups(names, request_timeout=OUTLIVE_SECONDS)
        left: dict[str, KafkaError] = {}
        for name in sorted(names, key=self._used.__getitem__, reverse=True):
            timeout = deadline.remaining() if self._used[name] else min(deadline.remaining(), 0.3)
            try:
                self._client.wait(futures[name], timeout, grace=0.0)
            except KafkaException as error:
                inner = kafka_error(error) or KafkaError(KafkaError._FAIL)
                if inner.code() not in GONE:
                    left[name] = inner
        return left

    def _note(self, error: KafkaError | None) -> None:
        """Log once that commits fail."""
        if error is None:
            self._logged = ""
            return
        reason = reason_of(error)
        if error.code() in NOT_ALLOWED:
            self._denied_until = time.monotonic() + DENIED
        else:
            self._is_stale |= reason != "invalid"
        if reason != self._logged:
            self._logged = reason
            self._log.info("probe.not_committed", error=describe(error, self._right(error)))

    def _right(self, error: KafkaError) -> str | None:
        if error.code() not in NOT_ALLOWED:
            return None
        return (
            f"give the user Read on the topic, and on groups whose names begin with {self._topic}-"
        )


def _error(answer: Answer) -> KafkaError | None:
    try:
        partitions = answer.result().topic_partitions or ()
    except KafkaException as error:
        return kafka_error(error) or KafkaError(KafkaError._FAIL)
    return next((p.error for p in partitions if p.error is not None), None)


def _what_then(error: KafkaError) -> str:
    if reason_of(error) != "unauthorized":
        return "they expire by the brokers' offsets.retention.minutes"
    return "give the user Delete on them, or leave them to expire by offsets.retention.minutes"
