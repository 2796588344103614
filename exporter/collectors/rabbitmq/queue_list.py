"""The queues of a RabbitMQ cluster: which exist, which are shown, and the backlog of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from exporter.collectors.deadlines import Share
from exporter.collectors.http import HttpClient
from exporter.collectors.parallel import Pool
from exporter.collectors.rabbitmq.api import ManagementApi
from exporter.collectors.rabbitmq.detailed import texts
from exporter.collectors.rabbitmq.plugin_backlog import PluginBacklog, merged
from exporter.collectors.rabbitmq.queues import (
    NAMES,
    TOTALS,
    ListedQueue,
    Name,
    QueueSelection,
    called,
    left_out,
    listed,
    name_of,
    stream_of,
)
from exporter.collectors.rabbitmq.settings import RabbitSettings
from exporter.collectors.rabbitmq.super_streams import SuperStreams
from exporter.collectors.reply_rows import A_COUNT, RowError, Rows
from exporter.model import Deadline, Depth, Problem

LISTING_SHARE = 0.8
"""Fraction of a run's time for the list of queues. The rest is left for the nodes."""


class QueueList:
    """Keeps the list of queues. The tasks `backlog` and `rates` may read it at the same time."""

    def __init__(
        self, settings: RabbitSettings, api: ManagementApi, http: HttpClient, pool: Pool
    ) -> None:
        self._api = api
        self._pool = pool
        self._plugin = (
            PluginBacklog(http, pool, settings.prometheus) if settings.prometheus else None
        )
        self.selection = QueueSelection(settings)
        self.super_streams = SuperStreams()
        self.queues: Sequence[ListedQueue] = ()
        """The queues that are shown. Each list replaces this sequence; it is never changed in
        place.
        """
        self.length = 0
        """Number of queues in the last list, including those that are not shown."""
        self.is_node_down = False
        """Whether a node is known to be down. Then the next list may lack its queues."""
        self._is_new = False
        """Whether the queues were listed since the last call of `pop_is_new`."""
        self._known: Mapping[bytes, Name] = {}

    def depths(self, deadline: Deadline, problems: list[Problem], reader: Rows) -> list[Depth]:
        """Return the backlog of each queue.

        It is read from the Prometheus plugin if that is configured, else from the management API.
        """
        if self._plugin is not None and self.queues:
            return self._read_plugin(self._plugin, deadline, problems, reader)
        return self.read(Share(deadline, LISTING_SHARE), reader)

    def read(self, deadline: Deadline, reader: Rows) -> list[Depth]:
        """List all queues; return the backlog of those that are shown and are not streams."""
        rows = self._api.rows("queues", deadline, **TOTALS)
        names = set(Rows().each(rows, name_of))
        if self.is_node_down or any(queue.name not in names for queue in self.queues):
            # A queue that is missing in the list with totals was deleted, or its node is down.
            down = left_out(self._api.rows("queues", deadline, **NAMES), names)
            rows = [*rows, *down]
            names.update(map(name_of, down))
        self.length = len(rows)
        self._is_new = True
        self._find_super_streams(rows, deadline, reader)
        queues = listed(rows, self.selection, reader)
        self._api.recognize("queues", rows, reader)
        self.queues = queues
        self.selection.keep(names)
        if self._plugin is not None:
            self._known = texts(queue.name for queue in queues)
        return [queue.depth for queue in queues if not queue.stream]

    def pop_is_new(self) -> bool:
        """Return whether the queues were listed since the last call.

        The Prometheus plugin does not report deleted queues.
        """
        is_new, self._is_new = self._is_new, False
        return is_new

    def _find_super_streams(
        self, rows: Sequence[Mapping[str, Any]], deadline: Deadline, reader: Rows
    ) -> None:
        """Find out which streams are partitions of super streams.

        The filters apply to super streams, not to their partitions.
        """
        streams = frozenset(Rows().each(rows, stream_of))
        before = self.super_streams.parts
        self.super_streams.refresh(self._api, self._pool, streams, deadline, reader)
        if self.super_streams.parts != before:
            self.selection.rename(
                {name: part.destination for name, part in self.super_streams.parts.items()}
            )

    def _read_plugin(
        self, plugin: PluginBacklog, deadline: Deadline, problems: list[Problem], reader: Rows
    ) -> list[Depth]:
        """Return the backlog from the Prometheus plugin.

        From the management API if a node cannot be read.
        """
        part = Share(deadline, LISTING_SHARE / 2)
        found = plugin.read(self._known, part, problems, reader)
        if found is None:
            return self.read(Share(deadline, LISTING_SHARE), reader)
        asked: Mapping[Name, Depth] = {}
        queues = self.queues
        missing = plugin.missing(queues, found)
        if missing:
            self.read(Share(deadline, LISTING_SHARE), reader)
            queues = self.queues
            asked = {queue.name: queue.depth for queue in queues}
            problem = plugin.problem_of(missing, queues)
            problems.extend([problem] if problem is not None else ())
        else:
            for queue in queues:
                if queue.unread and queue.name not in found:
                    reader.refuse(called(queue.name), RowError("messages", None, A_COUNT))
        return merged(queues, found, asked)
