"""Where the consumers of streams stand, from the stream plugin's management extension."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from exporter.collectors.rabbitmq.queues import Name, called, place_of
from exporter.collectors.rows import LARGEST, RowError, Rows, number, signed_number
from exporter.model import Counts, Depth, Produced, StreamOffsets


@dataclass
class Streams:
    """What one look saw of streams."""

    depths: list[Depth] = field(default_factory=list)
    counts: list[Counts] = field(default_factory=list)
    offsets: list[StreamOffsets] = field(default_factory=list)
    produced: list[Produced] = field(default_factory=list)


FIXED = ("first", "last", "next")
"""What stands for the offset of a consumer that has just begun (RabbitMQ 4)."""


def read_streams(
    rows: Iterable[Mapping[str, Any]], names: set[Name], reader: Rows | None = None
) -> Streams:
    """Return the positions of the consumers of the streams `names`.

    Consumers of one name on one stream are one group, and so are those without a name (their connections come and go,
    which makes no label). The one that is furthest behind stands for the group: each reads the whole stream, or they
    take over from each other. Positions are of what was sent to a consumer, which is as much as RabbitMQ knows of it.
    """
    reader = reader or Rows()
    groups: dict[tuple[Name, str | None], list[tuple[int, int]]] = {}
    ends: dict[Name, int] = {}
    attaching: set[tuple[Name, str | None]] = set()
    for row in rows:
        queue = row.get("queue")
        offset, lag = row.get("offset"), row.get("offset_lag")
        if not isinstance(queue, dict) or offset is None or lag is None:
            continue
        name = (str(queue.get("vhost")), str(queue.get("name")))
        if name not in names:
            continue
        if isinstance(offset, str) and offset in FIXED:
            attaching.add((name, _group(row)))
            continue
        try:
            position = number(row, "offset")
            end = position + max(signed_number(row, "offset_lag"), 0)
            if end > LARGEST:
                raise RowError("offset_lag", lag, "within the largest offset")  # noqa: TRY301
        except RowError as error:
            reader.refuse(f"a consumer of {called(name)}", error)
            continue
        groups.setdefault((name, _group(row)), []).append((position, end))
        ends[name] = max(ends.get(name, 0), end)
    streams = Streams()
    for name, group in attaching.difference(groups):
        # It exists, and where it stands is not known yet.
        streams.depths.append(Depth(place_of(name, group), None))
    for (name, group), positions in groups.items():
        place = place_of(name, group)
        committed = min(position for position, _ in positions)
        lag = max(end - position for position, end in positions)
        streams.depths.append(Depth(place, lag))
        streams.counts.append(Counts(place, lag, committed + lag, None, None, len(positions)))
        streams.offsets.append(StreamOffsets(place, committed, committed + lag))
    for name, end in ends.items():
        streams.produced.append(Produced(name[0], name[1], None, end, None))
    return streams


def _group(row: Mapping[str, Any]) -> str | None:
    properties = row.get("properties")
    named = properties.get("name") if isinstance(properties, dict) else None
    return str(named) if named else None
