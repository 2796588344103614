"""Super streams: exchanges with bindings to the streams that are their partitions."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from exporter.collectors.parallel import Pool
from exporter.collectors.rabbitmq.api import ManagementApi, ask_each, in_path, is_missing
from exporter.collectors.rabbitmq.queues import Name, name_of
from exporter.collectors.rabbitmq.streams import StreamLabels
from exporter.collectors.reply_rows import RowError, Rows, number_or_none, text
from exporter.model import CollectError, Deadline, Problem

AGAIN_SECONDS = 60.0
"""Interval of reading the exchanges if no stream was created or deleted."""
ARGUMENT, ORDER = "x-super-stream", "x-stream-partition-order"


class SuperStreams:
    """Knows which stream is which partition of a super stream."""

    def __init__(self) -> None:
        self.parts: Mapping[Name, StreamLabels] = {}
        """Stream to its labels, for streams that are partitions."""
        self.labels: set[str] = set()
        """All partitions that were ever seen."""
        self.problems: Sequence[Problem] = []
        """The problems of the last run."""
        self._of: frozenset[Name] | None = None
        self._is_settled = False
        """Whether all were read since the last change of the streams."""
        self._read_at = 0.0

    def part(self, name: Name) -> StreamLabels:
        """Return the labels that a stream is shown with."""
        return self.parts.get(name) or StreamLabels(name[1], None)

    def refresh(
        self,
        api: ManagementApi,
        pool: Pool,
        streams: frozenset[Name],
        deadline: Deadline,
        reader: Rows,
    ) -> None:
        """Read the super streams if a stream was created or deleted, and once a minute.

        What cannot be read stays as it is.
        """
        at = time.monotonic()
        if not streams:
            self.parts, self.problems, self._of = {}, [], None
            return
        if streams == self._of and self._is_settled and at - self._read_at < AGAIN_SECONDS:
            return
        # The streams of a new super stream exist before its bindings.
        self._is_settled, self._of = streams == self._of, streams
        try:
            names = _super_streams(api, deadline, reader)
        except CollectError as error:
            self.problems = [Problem(error.reason, "super streams", str(error))]
            self._is_settled = False
            return
        answers = ask_each(
            pool, "exchange ", names, lambda name: _bindings(api, name, deadline), deadline
        )
        parts: dict[Name, StreamLabels] = {}
        problems: list[Problem] = []
        for (vhost, name), answer in answers.items():
            if isinstance(answer, CollectError):
                if not is_missing(answer):
                    problems.append(Problem(answer.reason, f"super stream {name!r}", str(answer)))
                    parts.update(self._known(vhost, name))
                continue
            parts.update(_parts(vhost, name, answer, streams, reader))
        self.parts = parts
        self.labels.update(part.partition for part in parts.values() if part.partition is not None)
        self._is_settled = self._is_settled and not problems
        self._read_at, self.problems = at, problems

    def _known(self, vhost: str, name: str) -> dict[Name, StreamLabels]:
        return {
            stream: part
            for stream, part in self.parts.items()
            if (stream[0], part.destination) == (vhost, name)
        }


def _super_streams(api: ManagementApi, deadline: Deadline, reader: Rows) -> list[Name]:
    rows = api.rows("exchanges", deadline, disable_stats="true", columns="name,vhost,arguments")

    def marked(row: Mapping[str, Any]) -> Name | None:
        arguments = row.get("arguments")
        is_super = isinstance(arguments, dict) and arguments.get(ARGUMENT) is True
        return name_of(row) if is_super else None

    return list(reader.each(rows, marked, "a row of the exchanges"))


def _bindings(api: ManagementApi, name: Name, deadline: Deadline) -> list[Mapping[str, Any]]:
    path = f"exchanges/{in_path(name[0])}/{in_path(name[1])}/bindings/source"
    columns = "vhost,destination,destination_type,routing_key,arguments"
    return api.rows(path, deadline, columns=columns)


def _parts(
    vhost: str,
    name: str,
    rows: Sequence[Mapping[str, Any]],
    streams: frozenset[Name],
    reader: Rows,
) -> dict[Name, StreamLabels]:
    """Return the partitions of one super stream.

    Their names are their numbers, or their routing keys if a number is missing.
    """
    numbers: dict[Name, int | None] = {}
    keys: dict[Name, str] = {}
    for row in rows:
        try:
            stream = (vhost, text(row, "destination"))
            if row.get("destination_type") != "queue" or stream not in streams:
                continue
            arguments = row.get("arguments")
            order = number_or_none(arguments, ORDER) if isinstance(arguments, dict) else None
            numbers[stream], keys[stream] = order, text(row, "routing_key")
        except RowError as error:
            reader.refuse(f"a binding of super stream {name!r} in vhost {vhost!r}", error)
    numbered = None not in numbers.values() and len(set(numbers.values())) == len(numbers)
    return {
        stream: StreamLabels(name, str(order) if numbered else keys[stream])
        for stream, order in numbers.items()
    }
