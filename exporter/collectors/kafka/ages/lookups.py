"""Timestamp lookups: many partitions in a request, and a bounded number of requests in flight."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from exporter.collectors.kafka.client import KafkaClient
from exporter.collectors.kafka.errors import GONE, kafka_error, problem
from exporter.collectors.kafka.offsets import listed_offset
from exporter.model import Deadline, Problem

IN_FLIGHT = 4
"""Requests in flight per broker."""


class Lookup(NamedTuple):
    """A request for the first record of a partition whose timestamp is at least `time` (ms)."""

    topic: str
    partition: int
    time: int


class LookupAnswer(NamedTuple):
    """Offset and timestamp (ms) of the record; both are -1 if there is none."""

    lookup: Lookup
    offset: int
    timestamp: int


class Lookups:
    """Sends lookups to brokers. A broker that timed out is not asked again by the same object."""

    def __init__(self, client: KafkaClient, leaders: Mapping[str, Sequence[int]]) -> None:
        """`leaders` maps a topic to the leader of each partition; negative if it has none."""
        self._client = client
        self._leaders = leaders
        self._silent: set[int] = set()
        self.problems: list[Problem] = []
        self.asked = 0

    def ask(self, lookups: Iterable[Lookup], deadline: Deadline) -> Iterator[LookupAnswer]:
        """Yield the answers in any order; lookups without an answer are left out."""
        calls = self._calls(lookups)
        under_way: list[tuple[int, Sequence[tuple[Lookup, Future[Any]]]]] = []
        flying: dict[int, int] = defaultdict(int)
        while calls or under_way:
            for leader in list(calls):
                while calls[leader] and flying[leader] < IN_FLIGHT and deadline.remaining() > 0:
                    batch = calls[leader].pop(0)
                    flying[leader] += 1
                    under_way.append((leader, self._send(batch, deadline)))
                if not calls[leader] or leader in self._silent or deadline.remaining() <= 0:
                    del calls[leader]
            if not under_way:
                return
            leader, futures = under_way.pop(0)
            yield from self._answers(leader, futures, deadline)
            flying[leader] -= 1

    def _calls(self, lookups: Iterable[Lookup]) -> dict[int, list[list[Lookup]]]:
        """Group lookups by leader, into requests that contain each partition at most once."""
        calls: dict[int, list[list[Lookup]]] = defaultdict(list)
        depth: dict[tuple[str, int], int] = defaultdict(int)
        for lookup in lookups:
            row = self._leaders.get(lookup.topic, ())
            leader = row[lookup.partition] if lookup.partition < len(row) else -1
            if leader < 0 or leader in self._silent:
                continue
            layer = depth[lookup.topic, lookup.partition]
            depth[lookup.topic, lookup.partition] += 1
            layers = calls[leader]
            if layer == len(layers):
                layers.append([])
            layers[layer].append(lookup)
        return calls

    def _send(
        self, batch: Sequence[Lookup], deadline: Deadline
    ) -> Sequence[tuple[Lookup, Future[Any]]]:
        self.asked += len(batch)
        timeout = self._client.request_seconds(deadline)

        def call(lookups: list[Lookup]) -> Mapping[TopicPartition, Future[Any]]:
            specs = {
                TopicPartition(each.topic, each.partition): OffsetSpec.for_timestamp(each.time)
                for each in lookups
            }
            found: Mapping[TopicPartition, Future[Any]] = self._client.admin.list_offsets(
                specs, request_timeout=timeout
            )
            return found

        return self._client.ask(batch, call)

    def _answers(
        self,
        leader: int,
        futures: Sequence[tuple[Lookup, Future[Any]]],
        deadline: Deadline,
    ) -> Iterator[LookupAnswer]:
        failed: list[tuple[str, KafkaException]] = []
        for lookup, future in futures:
            try:
                found = self._client.read(
                    future,
                    deadline.remaining(),
                    lambda found: LookupAnswer(
                        lookup,  # noqa: B023 - called at once
                        listed_offset(found),
                        found.timestamp,
                    ),
                )
            except KafkaException as error:
                inner = kafka_error(error)
                if inner is None or inner.code() not in GONE:
                    failed.append((f"time of {lookup.topic}/{lookup.partition}", error))
                continue
            yield found
        if not failed:
            return
        self.problems += [problem(subject, error) for subject, error in failed]
        if len(failed) == len(futures) and problem("", failed[0][1]).reason == "timeout":
            self._silent.add(leader)
