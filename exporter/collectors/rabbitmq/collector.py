"""Reads one RabbitMQ cluster: which tasks there are, and in what order each asks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import structlog

from exporter.collectors.deadlines import CHEAP_SECONDS, Share
from exporter.collectors.http import HttpClient
from exporter.collectors.parallel import Pool
from exporter.collectors.process.hazards import Hazards
from exporter.collectors.rabbitmq.advice import STATS_OFF
from exporter.collectors.rabbitmq.api import ManagementApi, ask_each, in_path, is_missing
from exporter.collectors.rabbitmq.check import check_source
from exporter.collectors.rabbitmq.counting import OVERVIEW, RATES_OFF, Counting, counting_of
from exporter.collectors.rabbitmq.detailed import texts
from exporter.collectors.rabbitmq.maintenance import Maintenance
from exporter.collectors.rabbitmq.pages import Pages, merged
from exporter.collectors.rabbitmq.probe import RabbitProber
from exporter.collectors.rabbitmq.queues import (
    COLUMNS,
    NAMES,
    TOTALS,
    Name,
    Queue,
    Selection,
    called,
    counts_of,
    left_out,
    listed,
    mean_size,
    name_of,
    stream_of,
)
from exporter.collectors.rabbitmq.rights import QUEUES_COLUMN, hidden_vhosts, told
from exporter.collectors.rabbitmq.settings import RabbitSettings
from exporter.collectors.rabbitmq.stream_reader import StreamReader
from exporter.collectors.rabbitmq.super_streams import SuperStreams
from exporter.collectors.reply_rows import A_COUNT, RowError, Rows, text
from exporter.model import (
    CollectError,
    Counts,
    Deadline,
    Depth,
    Facts,
    Finding,
    Observation,
    Probes,
    Problem,
    QueueCounts,
    QueueLook,
    Roster,
)

LISTING_SHARE = 0.8
"""Part of a run's time for the list of queues; a broker that is slow with it leaves some for the nodes."""
LIST_ROW = "a row of the list of queues"
COUNTLESS = 3
"""Lists in a row without counts of any queue after which the statistics are taken to be off."""
CLOSELY = 50
"""Queues with a backlog, the largest first, whose counts are read one by one in between."""


class RabbitCollector:
    """The tasks of one RabbitMQ source.

    `backlog` reads what waits, often; `rates` what was counted in all queues, seldom, since that costs the broker more;
    `latency` the same of the queues with a backlog, one by one; `discovery` what the user may not see; `probe` times the nodes.
    """

    system = "rabbitmq"
    follows = RabbitSettings.FOLLOWS

    def __init__(self, settings: RabbitSettings) -> None:
        every: Mapping[str, Callable[[Deadline], Observation]] = {
            "backlog": self.backlog,
            "discovery": self.discovery,
            "rates": self.rates,
            "latency": self.latency,
            "probe": self.probe,
        }
        self.tasks: Mapping[str, Callable[[Deadline], Observation]] = {
            name: every[name] for name in settings.tasks()
        }
        self._settings = settings
        self._http = HttpClient(settings.name, settings.tls, settings.login)
        self._pool = Pool()
        self._api = ManagementApi(self._http, settings.management)
        self._selection = Selection(settings)
        self._pages = Pages(self._http, self._pool, settings.prometheus)
        self._prober = RabbitProber(settings)
        self._streams = StreamReader(self._pool, self._feature)
        self._super_streams = SuperStreams()
        self._maintenance = Maintenance(settings.name, self._api, settings.probe_vhost)
        self._queues: Sequence[Queue] = ()
        self._is_list_cheap = self._something_waits = False
        self._is_node_down = False
        self._is_new_list = False
        """Whether the queues were listed since the last look."""
        self._turn = 0
        """How often vhosts were looked for that the user may not see."""
        self._listed = 0
        """How many queues the last list had, those included that are not shown."""
        self._lagging: Sequence[Name] = ()
        self._known: Mapping[bytes, Name] = {}
        self._counting: Counting | None = None
        self._countless = 0
        """Lists in a row in which no queue had counts."""
        self._told: dict[str, bool] = {}
        self._log = structlog.get_logger(__name__).bind(source=settings.name)

    def due_early(self, task: str) -> bool:
        """Tell whether something waits and the task is cheap: ages are exact for longer if it runs again soon."""
        if task == "backlog":
            return self._is_list_cheap and self._something_waits
        return task == "latency" and bool(self._lagging)

    def backlog(self, deadline: Deadline) -> QueueLook:
        """Read what waits in each queue, and the nodes."""
        at = time.monotonic()
        problems: list[Problem] = []
        reader = Rows()
        self._is_list_cheap = False  # a look that fails is not repeated before its time
        if self._settings.prometheus and self._queues:
            depths = self._detailed(deadline, problems, reader)
        else:
            depths = self._list(Share(deadline, LISTING_SHARE), reader)
        self._note_lagging(depths)
        self._is_list_cheap = time.monotonic() - at < CHEAP_SECONDS
        # With the plugin's pages, only a new list of all queues tells that one is gone.
        whole, self._is_new_list = self._is_new_list, False
        queues = self._queues  # `rates` may replace them at any moment
        parts = {q.name: self._super_streams.part(q.name) for q in queues if q.stream}
        streams, missing = self._streams.look(self._api, at, parts, deadline, reader)
        problems += [*self._super_streams.problems, *missing]
        depths = [*depths, *streams.depths]
        nodes, alarms = self._nodes(deadline, problems, reader)
        return QueueLook(
            at,
            depths,
            counts=streams.counts,
            produced=streams.produced,
            streams=streams.offsets,
            whole=frozenset({None, *self._super_streams.labels})
            if whole and not reader.nameless
            else frozenset(),
            destinations=frozenset(
                (q.name[0], *parts[q.name]) if q.stream else (*q.name, None) for q in queues
            ),
            nodes=nodes,
            # A member that is stopped is listed as such; one that was forgotten is not.
            roster=None if nodes is None else Roster(at, {n: n for n in nodes}, frozenset()),
            alarms=alarms,
            notices=() if nodes is None else self._maintenance.notices,
            unreadable=reader.unreadable,
            problems=[*problems, *reader.problems()],
        )

    def rates(self, deadline: Deadline) -> QueueCounts:
        """Read what was counted in all queues."""
        if self._counting is None:
            with suppress(CollectError):  # which discovery reports
                self._learn_counting(deadline)
        at, now = time.monotonic(), time.time()
        rows = self._api.rows("queues", deadline, columns=COLUMNS)
        reader = Rows()
        shown = list(
            reader.each(rows, lambda row: row if self._selection.queue(row) else None, LIST_ROW)
        )
        self._api.recognize("queues", rows, reader)
        counts: list[Counts] = []
        sizes: dict[tuple[str | None, str], float] = {}
        for row in shown:
            self._count(name_of(row), row, now, counts, sizes, reader)
        if self._settings.prometheus:
            self._list(deadline, Rows())
        # Queues that are all young, or of a node that was just started, have no counts yet.
        self._countless = 0 if counts or not shown else self._countless + 1
        self._feature("rates, ages and consumers", self._countless < COUNTLESS, STATS_OFF)
        return QueueCounts(
            at, counts, sizes=sizes, unreadable=reader.unreadable, problems=reader.problems()
        )

    def latency(self, deadline: Deadline) -> QueueCounts:
        """Read what was counted in the queues with a backlog, so that their ages are exact."""
        at, now = time.monotonic(), time.time()
        answers = ask_each(
            self._pool, "", self._lagging, lambda name: self._one(name, deadline), deadline
        )
        counts: list[Counts] = []
        problems: list[Problem] = []
        reader = Rows()
        for name, answer in answers.items():
            if isinstance(answer, CollectError):
                if not is_missing(answer):  # deleted since it was listed
                    problems.append(Problem(answer.reason, f"queue {name[1]!r}", str(answer)))
                continue
            self._count(name, answer, now, counts, {}, reader)
        if problems and not counts:
            raise CollectError(problems[0].reason, problems[0].message)
        return QueueCounts(
            at,
            counts,
            unreadable=reader.unreadable,
            problems=[*problems, *reader.problems()],
        )

    def discovery(self, deadline: Deadline) -> Facts:
        """Look for what the user may not see, and what the cluster can't serve."""
        self._turn += 1
        overview = self._learn_counting(deadline)
        hidden = hidden_vhosts(
            self._api,
            overview,
            self._selection,
            self._queues,
            self._listed,
            deadline,
            turn=self._turn,
        )
        return Facts(problems=[told(self._settings.login.username, vhost) for vhost in hidden])

    def probe(self, deadline: Deadline) -> Probes:
        """Send a message to each node, and receive it."""
        found = self._prober.run(deadline)
        return self._maintenance.excuse(found, self._prober.addresses(), deadline)

    def check(self, deadline: Deadline) -> Sequence[Finding]:
        """Try each feature once."""
        findings = check_source(self._settings, self._http, self._api, deadline)
        if self._settings.probe and findings[0].ok:
            findings += self._prober.check(self._maintenance, deadline)
        return findings

    def close(self) -> None:
        """Close all connections; the probes' queues go with them."""
        self._prober.close()
        self._pool.close()
        self._http.close()

    # Steps

    def _learn_counting(self, deadline: Deadline) -> Any:
        """Learn what the cluster counts; an upgrade or another protocol's plugin changes it. Return the overview."""
        overview = self._api.get("overview", deadline, columns=f"{OVERVIEW},{QUEUES_COLUMN}")
        self._counting = counting_of(overview)
        self._feature("rates and ages", self._counting.rates_mode != "none", RATES_OFF)
        return overview

    def _count(
        self,
        name: Name,
        row: Mapping[str, Any],
        now: float,
        counts: list[Counts],
        sizes: dict[tuple[str | None, str], float],
        reader: Rows,
    ) -> None:
        """Add what was counted in one queue."""
        try:
            every = self._counting is not None and self._counting.every_protocol
            found, size = counts_of(row, now, every_protocol=every), mean_size(row)
        except RowError as error:
            reader.refuse(called(name), error)
            return
        if found is not None:
            counts.append(found)
        if size is not None:
            sizes[name] = size

    def _list(self, deadline: Deadline, reader: Rows) -> list[Depth]:
        rows = self._api.rows("queues", deadline, **TOTALS)
        names = set(Rows().each(rows, name_of))
        if self._is_node_down or any(queue.name not in names for queue in self._queues):
            # Missing in a list with totals is deleted, or its node is down.
            down = left_out(self._api.rows("queues", deadline, **NAMES), names)
            rows = [*rows, *down]
            names.update(map(name_of, down))
        self._listed = len(rows)
        self._is_new_list = True
        self._find_super_streams(rows, deadline, reader)
        queues = listed(rows, self._selection, reader)
        self._api.recognize("queues", rows, reader)
        self._queues = queues
        self._selection.keep(names)
        if self._settings.prometheus:
            self._known = texts(queue.name for queue in queues)
        return [queue.depth for queue in queues if not queue.stream]

    def _find_super_streams(
        self, rows: Sequence[Mapping[str, Any]], deadline: Deadline, reader: Rows
    ) -> None:
        """Find out which streams are partitions: the filters are about super streams, not about these."""
        streams = frozenset(Rows().each(rows, stream_of))
        before = self._super_streams.parts
        self._super_streams.refresh(self._api, self._pool, streams, deadline, reader)
        if self._super_streams.parts != before:
            self._selection.rename(
                {name: part.destination for name, part in self._super_streams.parts.items()}
            )

    def _detailed(self, deadline: Deadline, problems: list[Problem], reader: Rows) -> list[Depth]:
        """Return what waits by the plugin's pages; by the management API where one of them is missing."""
        part = Share(deadline, LISTING_SHARE / 2)
        found = self._pages.read(self._known, part, problems, reader)
        if found is None:
            return self._list(Share(deadline, LISTING_SHARE), reader)
        asked: Mapping[Name, Depth] = {}
        queues = self._queues
        missing = self._pages.missing(queues, found)
        if missing:
            self._list(Share(deadline, LISTING_SHARE), reader)
            queues = self._queues
            asked = {queue.name: queue.depth for queue in queues}
            problem = self._pages.told(missing, queues)
            problems.extend([problem] if problem is not None else ())
        else:
            for queue in queues:
                if queue.unread and queue.name not in found:
                    reader.refuse(called(queue.name), RowError("messages", None, A_COUNT))
        return merged(queues, found, asked)

    def _nodes(
        self, deadline: Deadline, problems: list[Problem], reader: Rows
    ) -> tuple[Mapping[str, bool] | None, Sequence[str]]:
        """Return which nodes run, and the alarms; nothing where the user may not know."""
        columns = "name,running,being_drained,mem_alarm,disk_free_alarm"
        try:
            rows = self._api.rows("nodes", deadline, columns=columns)
        except CollectError as error:
            denied = error.reason == "unauthorized"
            self._feature("nodes and alarms", not denied, NO_MONITORING)
            if not denied:
                problems.append(Problem(error.reason, "nodes", str(error)))
            return None, ()
        named = dict(reader.each(rows, lambda row: (text(row, "name"), row), "a row of the nodes"))
        nodes = {name: bool(row.get("running")) for name, row in named.items()}
        self._is_node_down = not all(nodes.values())
        self._maintenance.look(named)
        return nodes, [alarm for row in named.values() for alarm in _alarms(row)]

    def _one(self, name: Name, deadline: Deadline) -> Mapping[str, Any]:
        path = f"queues/{in_path(name[0])}/{in_path(name[1])}"
        found = self._api.get(path, deadline, columns=COLUMNS)
        if not isinstance(found, dict) or "name" not in found:
            raise CollectError("invalid", f"{path}: unexpected response")
        return found

    def _note_lagging(self, depths: Sequence[Depth]) -> None:
        self._something_waits = any(depth.lag for depth in depths)
        lagging = [d for d in depths if d.lag and d.place.group is None]
        lagging.sort(key=lambda depth: -(depth.lag or 0))
        names = [(d.place.vhost or "", d.place.destination) for d in lagging]
        self._lagging = names[:CLOSELY]

    def _feature(self, name: str, works: bool, advice: str) -> None:
        """Log once when a feature is found missing, and when it is back: it is no failure of each run."""
        if self._told.get(name, True) != works:
            self._told[name] = works
            if works:
                self._log.info("feature.found", feature=name)
            else:
                self._log.warning("feature.missing", feature=name, advice=advice)


NO_MONITORING = "give the user the tag monitoring"


def _alarms(row: Mapping[str, Any]) -> list[str]:
    kinds = {"mem_alarm": "memory", "disk_free_alarm": "disk"}
    return [
        f"{kind} alarm on {row.get('name')}: publishers are blocked"
        for key, kind in kinds.items()
        if row.get(key) is True
    ]


def rabbit_collector(settings: RabbitSettings, _: Hazards) -> RabbitCollector:
    """Return the collector of a source (`systems.System.collector`)."""
    return RabbitCollector(settings)
