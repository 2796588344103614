"""Reads streams by the management API: their consumers, stored offsets, and number of messages."""

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
from exporter.collectors.rabbitmq.stream_log import Holds, StreamLog
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
"""Streams whose stored offsets are read in one look; where there are more, they take turns."""
AGAIN_SECONDS = 600.0
"""After which stored offsets are asked for again where the broker has never told any."""
PART_OF_TIME = 0.5
HOLDS = "messages,arguments,effective_policy_definition"
LIMITS = ("max-age", "max-length-bytes")
NO_PLUGIN = "enable the plugin rabbitmq_stream_management"
NO_TRACKING = (
    "RabbitMQ reports stored offsets since 4.0, unless management.disable_stats is set; without them, a stopped stream "
    "consumer is not shown"
)
NO_END = (
    "RabbitMQ does not report the end of a stream with a retention limit while it has no consumer; the lag of stopped "
    "consumers is shown after a consumer has connected"
)


class _StreamReplies(NamedTuple):
    """What the broker says of one stream; None is what it does not say."""

    holds: Holds | None
    stored: Mapping[str, int | None] | None
    """Consumer name to offset; None is one that cannot be read."""


class StreamReader:
    """Reads the streams of one source from look to look."""

    def __init__(self, pool: Pool, feature: Feature) -> None:
        self._pool = pool
        self._feature = feature
        self._logs: dict[Name, StreamLog] = {}
        self._places: Sequence[Place] = ()
        self._ask_at = 0.0
        """When stored offsets are to be asked for."""
        self._tells_stored = False
        """Whether the broker ever told some: then it does not lack the path, but cannot answer for a while."""
        self._turn = 0

    def look(
        self,
        api: ManagementApi,
        at: float,
        parts: Mapping[Name, StreamLabels],
        deadline: Deadline,
        reader: Rows,
    ) -> tuple[Streams, list[Problem]]:
        """Return what is known of the streams `parts`, and what could not be read."""
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
            # Nobody knows which consumers are there.
            held = [Depth(place, None) for place in self._places]
            return Streams(depths=held), [Problem(error.reason, "streams", str(error))]
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
        log.measure(at, None if answer is None else answer.holds, max(ends, default=None))
        tail = tail_of(consumers, log)
        log.follow(tail)
        report.add(name, part, consumers, log, tail)

    def _ask(
        self, api: ManagementApi, at: float, deadline: Deadline, reader: Rows
    ) -> tuple[Mapping[Name, _StreamReplies], list[Problem]]:
        """Read what was stored, and how much is held, of as many streams as may be asked for in one look."""
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
    """Return what is known of one stream. Raises `CollectError`, of a status 404 where it does not exist."""
    queue = f"{in_path(name[0])}/{in_path(name[1])}"
    row = api.get(f"queues/{queue}", deadline, columns=HOLDS)
    if not with_stored:
        return _StreamReplies(_holds(name, row, reader), None)
    try:
        tracking = api.get(f"stream/{queue}/tracking", deadline, type="offset")
    except StatusError as error:
        # Before 4.0 there is no such path.
        if error.status not in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND):
            raise
        return _StreamReplies(_holds(name, row, reader), None)
    return _StreamReplies(_holds(name, row, reader), _stored(name, tracking, reader))


def _holds(name: Name, row: Any, reader: Rows) -> Holds | None:
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
        return Holds(messages, has_retention=True)
    limited = any(f"x-{limit}" in given or limit in policy for limit in LIMITS)
    return Holds(messages, has_retention=limited)


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
