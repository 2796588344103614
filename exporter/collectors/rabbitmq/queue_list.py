"""The queues of a RabbitMQ cluster: which there are, which of them are shown, and what waits in each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from exporter.collectors.deadlines import Share
from exporter.collectors.http import HttpClient
from exporter.collectors.parallel import Pool
from exporter.collectors.rabbitmq.api import ManagementApi
from exporter.collectors.rabbitmq.detailed import texts
from exporter.collectors.rabbitmq.pages import Pages, merged
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
"""Part of a run's time for the list of queues; a broker that is slow with it leaves some for the nodes."""


class QueueList:
    """Keeps the queues from list to list. The tasks `backlog` and `rates` may both read it, at the same time."""

    def __init__(
        self, settings: RabbitSettings, api: ManagementApi, http: HttpClient, pool: Pool
    ) -> None:
        self._api = api
        self._pool = pool
        self._pages = Pages(http, pool, settings.prometheus) if settings.prometheus else None
        self.selection = QueueSelection(settings)
        self.super_streams = SuperStreams()
        self.queues: Sequence[ListedQueue] = ()
        """Those that are shown. Replaced by each list, never changed."""
        self.length = 0
        """How many queues the last list had, those included that are not shown."""
        self.is_node_down = False
        """Whether a node is known not to run: then the next list may lack its queues."""
        self._is_new = False
        """Whether the queues were listed since `take_new`."""
        self._known: Mapping[bytes, Name] = {}

    def depths(self, deadline: Deadline, problems: list[Problem], reader: Rows) -> list[Depth]:
        """Return what waits in each queue: by the plugin's pages if configured, else by the management API."""
        if self._pages is not None and self.queues:
            return self._read_pages(self._pages, deadline, problems, reader)
        return self.read(Share(deadline, LISTING_SHARE), reader)

    def read(self, deadline: Deadline, reader: Rows) -> list[Depth]:
        """List all queues; return what waits in each that is shown and no stream."""
        rows = self._api.rows("queues", deadline, **TOTALS)
        names = set(Rows().each(rows, name_of))
        if self.is_node_down or any(queue.name not in names for queue in self.queues):
            # Missing in a list with totals is deleted, or its node is down.
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
        if self._pages is not None:
            self._known = texts(queue.name for queue in queues)
        return [queue.depth for queue in queues if not queue.stream]

    def take_new(self) -> bool:
        """Tell whether the queues were listed since the last call: the plugin's pages do not tell that one is gone."""
        is_new, self._is_new = self._is_new, False
        return is_new

    def _find_super_streams(
        self, rows: Sequence[Mapping[str, Any]], deadline: Deadline, reader: Rows
    ) -> None:
        """Find out which streams are partitions: the filters are about super streams, not about these."""
        streams = frozenset(Rows().each(rows, stream_of))
        before = self.super_streams.parts
        self.super_streams.refresh(self._api, self._pool, streams, deadline, reader)
        if self.super_streams.parts != before:
            self.selection.rename(
                {name: part.destination for name, part in self.super_streams.parts.items()}
            )

    def _read_pages(
        self, pages: Pages, deadline: Deadline, problems: list[Problem], reader: Rows
    ) -> list[Depth]:
        """Return what waits by the plugin's pages; by the management API where one of them is missing."""
        part = Share(deadline, LISTING_SHARE / 2)
        found = pages.read(self._known, part, problems, reader)
        if found is None:
            return self.read(Share(deadline, LISTING_SHARE), reader)
        asked: Mapping[Name, Depth] = {}
        queues = self.queues
        missing = pages.missing(queues, found)
        if missing:
            self.read(Share(deadline, LISTING_SHARE), reader)
            queues = self.queues
            asked = {queue.name: queue.depth for queue in queues}
            problem = pages.told(missing, queues)
            problems.extend([problem] if problem is not None else ())
        else:
            for queue in queues:
                if queue.unread and queue.name not in found:
                    reader.refuse(called(queue.name), RowError("messages", None, A_COUNT))
        return merged(queues, found, asked)
