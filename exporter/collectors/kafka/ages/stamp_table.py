"""The times of all subscriptions' positions, put together from the estimates of the partitions."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from exporter.collectors.kafka.ages.estimates import Estimate
from exporter.collectors.kafka.ages.heads import Heads
from exporter.collectors.kafka.ages.movements import Key
from exporter.collectors.kafka.ages.read_points import ReadPoint
from exporter.model import Method, Stamps

Estimates = Mapping[tuple[str, int], Mapping[ReadPoint, Estimate]]
"""Topic and partition to the times of its wanted offsets."""
NOTHING: Mapping[ReadPoint, Estimate] = {}


class _Made(NamedTuple):
    heads: Heads
    stamps: Stamps


class StampTable:
    """Makes stamps only where heads or estimates have changed. Equal ones are the same objects."""

    def __init__(self, method: Callable[[bool], Method]) -> None:
        """`method` returns how ages were determined, by whether all records were read."""
        self._method = method
        self._estimates: Estimates = {}
        self._made: dict[Key, _Made] = {}

    def observe(self, heads: Mapping[Key, Heads], estimates: Estimates) -> dict[Key, Stamps]:
        """Return the stamps of all heads after a poll."""
        changed = {topic for topic, _ in self._differing(estimates)}
        before, self._estimates = self._made, estimates
        self._made = {}
        for key, found in heads.items():
            made = before.get(key)
            if made is None or made.heads is not found or found.topic in changed:
                stamps = self._stamps(found)
                if made is not None and made.stamps == stamps:
                    stamps = made.stamps
                made = _Made(found, stamps)
            self._made[key] = made
        return {key: made.stamps for key, made in self._made.items()}

    def _differing(self, estimates: Estimates) -> Iterable[tuple[str, int]]:
        """Return the partitions with other estimates than in the last poll."""
        before = self._estimates
        yield from before.keys() - estimates.keys()
        for key, found in estimates.items():
            if before.get(key) is not found:
                yield key

    def _stamps(self, heads: Heads) -> Stamps:
        topic, committed_only, partitions, offsets = heads
        known: list[int] = []
        times = array("d")
        errors = array("d")
        read = True
        for partition, offset in zip(partitions, offsets, strict=True):
            if offset < 0:
                known.append(partition)
                times.append(math.inf)
                errors.append(0.0)
                continue
            estimates = self._estimates.get((topic, partition), NOTHING)
            found = estimates.get((offset, committed_only))
            if found is None:
                continue
            known.append(partition)
            times.append(found.time)
            errors.append(found.error)
            read = read and found.read
        # Most often all are known. Then the list is shared, because there are many.
        shared = partitions if len(known) == len(partitions) else known
        return Stamps(shared, times, errors, self._method(read))
