"""Reads streams from the management API: consumers, stored offsets, and number of messages."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from exporter.collectors.deadlines import Share
from exporter.collectors.http import StatusError
from exporter.collectors.parallel import Pool
from exporter.collectors.rabbitmq.api import ManagementApi, ask_each, in_path, is_missing
from exporter.collectors.rabbitmq.features import Feature
from exporter.collectors.rabbitmq.queues import Name, called
from exporter.collectors.rabbitmq.stream_log import StreamLog, StreamSize
from exporter.collectors.rabbitmq.streams import (
    Report,
    StreamConsumer,
    StreamLabels,
    Streams,
    read_consumers,
    tail_of,
)
from exporter.collectors.reply_rows import RowError, Rows, number, number_or_none
from exporter.model import CollectError, Deadline, Depth, Place, Problem

AT_ONCE = 50
"""Number of streams whose stored offsets are read in one run; more take turns."""
AGAIN_SECONDS = 600.0
"""Seconds until stored offsets are asked for again if the broker has never reported any."""
PART_OF_TIME = 0.5
SIZE_COLUMNS = "messages,arguments,effective_policy_definition"
LIMITS = ("max-age", "max-length-bytes")
NO_PLUGIN = "enable the plugin rabbitmq_stream_management"
NO_TRACKING = (
    "RabbitMQ reports stored offsets since 4.0, unless management.disable_stats is set; without "
    "them, a stopped stream "
    "consumer is not shown"
)
NO_END = (
    "RabbitMQ does not report the end of a stream with a retention limit while it has no consumer; "
    "the lag of stopped "
    "consumers is shown after a consumer has connected"
)


class _StreamReplies(NamedTuple):
    """The broker's replies about one stream; None if it did not reply."""

    size: StreamSize | None
    stored: Mapping[str, int | None] | None
    """Consumer name to offset; None if the offset cannot be read."""


class StreamReader:
    """Reads the streams of one source, and remembers each from run to run."""

    def __init__(self, pool: Pool, feature: Feature) -> None:
        self._pool = pool
        self._feature = feature
        self._logs: dict[Name, StreamLog] = {}
        self._places: Sequence[Place] = ()
        self._ask_at = 0.0
        """Time from which on stored offsets are asked for."""
        self._tells_stored = False
        """Whether the broker ever reported some. Then an error of this API is temporary."""
        self._turn = 0

    def read(
        self,
        api: ManagementApi,
        at: float,
        parts: Mapping[Name, StreamLabels],
        deadline: Deadline,
        reader: Rows,
    ) -> tuple[Streams, list[Problem]]:
        """Return the observations of the streams `parts`, and the problems."""
        self._logs = {name: self._logs.get(name) or StreamLog() for name in parts}
        if not parts:
            self._places = ()
            return Streams(), []
        try:
            rows = api.rows("stream/consumers", deadline)
        except CollectError as error:
            missing = is_missing(error)
            self._feature("lag of streams", not missing, NO_PLUGIN)
            if missing:
                return Streams(), []
            # It is unknown which consumers exist.
            unknown = [Depth(place, None) for place in self._places]
            return Streams(depths=unknown), [Problem(error.reason, "streams", str(error))]
        self._feature("lag of streams", True, NO_PLUGIN)  # noqa: FBT003 - it works
        consumers = read_consumers(rows, parts, reader)
        answers, problems = self._ask(api, at, deadline, reader)
        report = Report()
        for name, part in parts.items():
            self._add(report, name, part, consumers[name], answers.get(name), at)
        self._places = [depth.place for depth in report.streams.depths]
        ends = [log.end for log in self._logs.values() if log.stored]
        self._feature("lag of stopped stream consumers", None not in ends, NO_END)
        return report.streams, problems

    def _add(
        self,
        report: Report,
        name: Name,
        part: StreamLabels,
        consumers: Sequence[StreamConsumer],
        answer: _StreamReplies | None,
        at: float,
    ) -> None:
        log = self._logs[name]
        if answer is not None and answer.stored is not None:
            found = {
                group: log.stored.get(group) if offset is None else offset
                for group, offset in answer.stored.items()
            }
            log.store(at, {group: offset for group, offset in found.items() if offset is not None})
        ends = [each.end for each in consumers if each.end is not None]
        log.measure(at, None if answer is None else answer.size, max(ends, default=None))
        tail = tail_of(consumers, log)
        log.follow(tail)
        report.add(name, part, consumers, log, tail)

    def _ask(
        self, api: ManagementApi, at: float, deadline: Deadline, reader: Rows
    ) -> tuple[Mapping[Name, _StreamReplies], list[Problem]]:
        """Read stored offsets and number of messages of up to `AT_ONCE` streams."""
        names, with_stored = self._next(), at >= self._ask_at
        share = Share(deadline, PART_OF_TIME)
        found = ask_each(
            self._pool,
            "stream ",
            names,
            lambda name: _read(api, name, share, reader, with_stored=with_stored),
            share,
        )
        answers: dict[Name, _StreamReplies] = {}
        problems: list[Problem] = []
        for name, answer in found.items():
            if not isinstance(answer, CollectError):
                answers[name] = answer
            elif not is_missing(answer):  # deleted since it was listed
                self._logs[name].is_stored_known = False
                problems.append(Problem(answer.reason, called(name), str(answer)))
        if answers and with_stored:
            told = any(answer.stored is not None for answer in answers.values())
            self._feature("stored offsets of streams", told, NO_TRACKING)
            self._tells_stored = self._tells_stored or told
            self._ask_at = at if self._tells_stored else at + AGAIN_SECONDS
        return answers, problems

    def _next(self) -> Collection[Name]:
        names = list(self._logs)
        if len(names) <= AT_ONCE:
            return names
        first, self._turn = self._turn % len(names), self._turn + AT_ONCE
        return [*names, *names][first : first + AT_ONCE]


def _read(
    api: ManagementApi, name: Name, deadline: Deadline, reader: Rows, *, with_stored: bool
) -> _StreamReplies:
    """Return the replies about one stream.

    Raises `CollectError`; with status 404 if the stream does not exist.
    """
    queue = f"{in_path(name[0])}/{in_path(name[1])}"
    row = api.get(f"queues/{queue}", deadline, columns=SIZE_COLUMNS)
    if not with_stored:
        return _StreamReplies(_size(name, row, reader), None)
    try:
        tracking = api.get(f"stream/{queue}/tracking", deadline, type="offset")
    except StatusError as error:
        # Before 4.0 this path does not exist.
        if error.status not in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND):
            raise
        return _StreamReplies(_size(name, row, reader), None)
    return _StreamReplies(_size(name, row, reader), _stored(name, tracking, reader))


def _size(name: Name, row: Any, reader: Rows) -> StreamSize | None:
    try:
        messages = number_or_none(row, "messages")
    except RowError as error:
        reader.refuse(called(name), error)
        return None
    if messages is None:
        return None
    given = row.get("arguments") or {}
    policy = row.get("effective_policy_definition") or {}
    if not isinstance(given, dict) or not isinstance(policy, dict):
        return StreamSize(messages, has_retention=True)
    limited = any(f"x-{limit}" in given or limit in policy for limit in LIMITS)
    return StreamSize(messages, has_retention=limited)


def _stored(name: Name, tracking: Any, reader: Rows) -> Mapping[str, int | None]:
    offsets = tracking.get("offsets") if isinstance(tracking, dict) else None
    if not isinstance(offsets, dict):
        raise CollectError("invalid", str(RowError("offsets", offsets, "an object")))
    stored: dict[str, int | None] = dict.fromkeys(offsets)
    for group in offsets:
        try:
            stored[group] = number(offsets, group)
        except RowError as error:
            reader.refuse(f"the stored offsets of {called(name)}", error)
    return stored
