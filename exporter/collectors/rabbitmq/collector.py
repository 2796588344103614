"""Reads one RabbitMQ cluster: its tasks, and the order of requests in each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from exporter.collectors.deadlines import CHEAP_SECONDS, Share
from exporter.collectors.http import HttpClient
from exporter.collectors.parallel import Pool
from exporter.collectors.process.hazards import Hazards
from exporter.collectors.rabbitmq.advice import STATS_OFF
from exporter.collectors.rabbitmq.api import ManagementApi, ask_each, in_path, is_missing
from exporter.collectors.rabbitmq.check import check_source
from exporter.collectors.rabbitmq.counting import OVERVIEW, RATES_OFF, Counting, counting_of
from exporter.collectors.rabbitmq.features import Features
from exporter.collectors.rabbitmq.maintenance import Maintenance
from exporter.collectors.rabbitmq.node_reader import NodeReader
from exporter.collectors.rabbitmq.probe import RabbitProber
from exporter.collectors.rabbitmq.queue_list import QueueList
from exporter.collectors.rabbitmq.queues import (
    COLUMNS,
    Name,
    called,
    counts_of,
    mean_size,
    name_of,
)
from exporter.collectors.rabbitmq.rights import QUEUES_COLUMN, hidden_vhosts, no_permissions
from exporter.collectors.rabbitmq.settings import RabbitSettings
from exporter.collectors.rabbitmq.stream_reader import StreamReader
from exporter.collectors.rabbitmq.survey import COLUMNS as SURVEYED
from exporter.collectors.rabbitmq.survey import survey_of
from exporter.collectors.reply_rows import RowError, Rows
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
    QueueBacklog,
    QueueCounts,
    Roster,
    Survey,
)

SURVEY_SHARE = 0.6
"""Fraction of a survey's time for the first of its two lists."""
LIST_ROW = "a row of the list of queues"
COUNTLESS = 3
"""The statistics are reported as off after this many lists in a row without counts of any queue."""
CLOSELY = 50
"""Number of queues whose counts are read one by one between two full lists: those with the largest
backlog.
"""


class RabbitCollector:
    """The tasks of one RabbitMQ source.

    `backlog` often reads the messages that wait. `rates` reads the counts of all queues, less often
    because that costs the broker more. `latency` reads the counts of the queues with a backlog, one
    by one. `discovery` finds what the user may not access. `probe` measures the nodes' response
    times. `http` replaces the client of the management API and of the Prometheus plugin.
    """

    system = "rabbitmq"
    follows = RabbitSettings.FOLLOWS

    def __init__(self, settings: RabbitSettings, http: HttpClient | None = None) -> None:
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
        self._http = http or HttpClient(settings.name, settings.tls, settings.login)
        self._pool = Pool()
        self._api = ManagementApi(self._http, settings.management)
        self._features = Features(settings.name)
        self._list = QueueList(settings, self._api, self._http, self._pool)
        self._prober = RabbitProber(settings)
        self._streams = StreamReader(self._pool, self._features.note)
        self._maintenance = Maintenance(settings.name, self._api, settings.probe_vhost)
        self._nodes = NodeReader(self._api, self._maintenance, self._features.note)
        self._is_list_cheap = self._something_waits = False
        self._turn = 0
        """Number of the run of `discovery`, which selects the hidden vhosts to try."""
        self._lagging: Sequence[Name] = ()
        self._counting: Counting | None = None
        self._countless = 0
        """Number of lists in a row in which no queue had counts."""

    def due_early(self, task: str) -> bool:
        """Return whether the task should run early: messages wait, and the task is cheap.

        Ages are exact for longer if the task runs soon.
        """
        if task == "backlog":
            return self._is_list_cheap and self._something_waits
        return task == "latency" and bool(self._lagging)

    def backlog(self, deadline: Deadline) -> QueueBacklog:
        """Read the backlog of each queue, and the state of the nodes."""
        at = time.monotonic()
        problems: list[Problem] = []
        reader = Rows()
        self._is_list_cheap = False  # a failed run is not repeated early
        depths = self._list.depths(deadline, problems, reader)
        self._note_lagging(depths)
        self._is_list_cheap = time.monotonic() - at < CHEAP_SECONDS
        whole = self._list.pop_is_new()
        queues = self._list.queues  # `rates` may replace them at any time
        super_streams = self._list.super_streams
        parts = {q.name: super_streams.part(q.name) for q in queues if q.stream}
        streams, missing = self._streams.read(self._api, at, parts, deadline, reader)
        problems += [*super_streams.problems, *missing]
        depths = [*depths, *streams.depths]
        nodes, alarms = self._nodes.read(deadline, problems, reader)
        if nodes is not None:
            self._list.is_node_down = not all(nodes.values())
        return QueueBacklog(
            at,
            depths,
            counts=streams.counts,
            produced=streams.produced,
            streams=streams.offsets,
            whole=frozenset({None, *super_streams.labels})
            if whole and not reader.nameless
            else frozenset(),
            destinations=frozenset(
                (q.name[0], *parts[q.name]) if q.stream else (*q.name, None) for q in queues
            ),
            nodes=nodes,
            # A stopped member of the cluster is still listed; one that was removed is not.
            roster=None if nodes is None else Roster(at, {n: n for n in nodes}, frozenset()),
            alarms=alarms,
            notices=() if nodes is None else self._maintenance.notices,
            unreadable=reader.unreadable,
            problems=[*problems, *reader.problems()],
        )

    def rates(self, deadline: Deadline) -> QueueCounts:
        """Read the counts of all queues."""
        if self._counting is None:
            with suppress(CollectError):  # `discovery` reports it
                self._learn_counting(deadline)
        at, now = time.monotonic(), time.time()
        rows = self._api.rows("queues", deadline, columns=COLUMNS)
        reader = Rows()
        shown = list(
            reader.each(
                rows, lambda row: row if self._list.selection.queue(row) else None, LIST_ROW
            )
        )
        self._api.recognize("queues", rows, reader)
        counts: list[Counts] = []
        sizes: dict[tuple[str | None, str], float] = {}
        for row in shown:
            self._count(name_of(row), row, now, counts, sizes, reader)
        if self._settings.prometheus:
            self._list.read(deadline, Rows())
        # Queues have no counts yet if they are all new, or if their node was just started.
        self._countless = 0 if counts or not shown else self._countless + 1
        self._features.note("rates, ages and consumers", self._countless < COUNTLESS, STATS_OFF)
        return QueueCounts(
            at, counts, sizes=sizes, unreadable=reader.unreadable, problems=reader.problems()
        )

    def latency(self, deadline: Deadline) -> QueueCounts:
        """Read the counts of the queues with a backlog, so that their ages are exact."""
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
        """Find vhosts that the user may not access, and features that the cluster does not have."""
        self._turn += 1
        overview = self._learn_counting(deadline)
        hidden = hidden_vhosts(
            self._api,
            overview,
            self._list.selection,
            self._list.queues,
            self._list.length,
            deadline,
            turn=self._turn,
        )
        return Facts(
            problems=[no_permissions(self._settings.login.username, vhost) for vhost in hidden]
        )

    def probe(self, deadline: Deadline) -> Probes:
        """Send a message to each node and receive it."""
        found = self._prober.run(deadline)
        return self._maintenance.excuse(found, self._prober.addresses(), deadline)

    def check(self, deadline: Deadline) -> Sequence[Finding]:
        """Try each feature once."""
        findings = check_source(self._settings, self._http, self._api, deadline)
        if self._settings.probe and findings[0].ok:
            findings += self._prober.check(self._maintenance, deadline)
        return findings

    def survey(self, deadline: Deadline, seconds: float) -> Survey:
        """Return all names, and which queues have not moved for `seconds`."""
        self._list.read(Share(deadline, SURVEY_SHARE), Rows())  # finds the super streams
        rows = self._api.rows("queues", deadline, columns=SURVEYED)
        part = self._list.super_streams.part
        return survey_of(rows, self._list.selection.queue, lambda name: part(name)[0], seconds)

    def close(self) -> None:
        """Close all connections. This also deletes the queues of the probes."""
        self._prober.close()
        self._pool.close()
        self._http.close()

    # Steps

    def _learn_counting(self, deadline: Deadline) -> Any:
        """Find out what the cluster counts, which an upgrade or a new plugin can change.

        Return the overview.
        """
        overview = self._api.get("overview", deadline, columns=f"{OVERVIEW},{QUEUES_COLUMN}")
        self._counting = counting_of(overview)
        self._features.note("rates and ages", self._counting.rates_mode != "none", RATES_OFF)
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
        """Add the counts of one queue."""
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


def rabbit_collector(settings: RabbitSettings, _: Hazards) -> RabbitCollector:
    """Return the collector of a source (`systems.System.collector`)."""
    return RabbitCollector(settings)
