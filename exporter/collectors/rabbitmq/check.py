"""Tests which features of a RabbitMQ source work with the available permissions and plugins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from exporter.collectors.http import HttpClient
from exporter.collectors.rabbitmq.advice import STATS_OFF
from exporter.collectors.rabbitmq.api import ManagementApi
from exporter.collectors.rabbitmq.counting import (
    RATES_OFF,
    counting_of,
    listed_names,
    never_counted,
    uncounted,
)
from exporter.collectors.rabbitmq.detailed import FAMILY, QueueDepth, read_detailed, texts
from exporter.collectors.rabbitmq.plugin_backlog import missing_of, not_covered
from exporter.collectors.rabbitmq.queues import (
    COLUMNS,
    TOTALS,
    ListedQueue,
    Name,
    QueueSelection,
    counts_of,
    listed,
)
from exporter.collectors.rabbitmq.rights import hidden_vhosts, no_permissions
from exporter.collectors.rabbitmq.settings import RabbitSettings
from exporter.collectors.reply_rows import Rows
from exporter.model import CollectError, Deadline, Finding

TURNS = 10
"""How many batches of vhosts are tried to find those that the user may not access."""


def check_source(
    settings: RabbitSettings, http: HttpClient, api: ManagementApi, deadline: Deadline
) -> list[Finding]:
    """Return a finding for each feature; only the first if the management API cannot be reached."""
    try:
        overview: Any = api.get("overview", deadline)
        rows = api.rows("queues", deadline, **TOTALS)
    except CollectError as error:
        return [Finding("connection", ok=False, detail=str(error), required=True)]
    selection, reader = QueueSelection(settings), Rows()
    queues = listed(rows, selection, reader)
    try:
        api.recognize("queues", rows, reader)
    except CollectError as error:
        return [Finding("connection", ok=False, detail=str(error), required=True)]
    version = overview.get("rabbitmq_version", "?") if isinstance(overview, dict) else "?"
    detail = f"RabbitMQ {version}, {len(queues)} queues ({len(rows) - len(queues)} excluded)"
    findings = [
        Finding("connection", ok=True, detail=detail, required=True),
        *(
            Finding("every row", ok=False, detail=f"{each.subject}: {each.message}")
            for each in reader.problems()
        ),
    ]
    findings.append(
        _tried(
            "every vhost (lag)",
            lambda: _no_hidden(
                settings,
                [
                    vhost
                    for turn in range(TURNS)
                    for vhost in hidden_vhosts(
                        api, overview, selection, queues, len(rows), deadline, turn=turn
                    )
                ],
            ),
            "",
        )
    )
    findings.append(
        _tried("rates, ages, consumers", lambda: _counted(api, overview, selection, deadline), "")
    )
    findings.append(
        _tried(
            "nodes and alarms",
            lambda: _nodes(api, deadline),
            "give the user the tag monitoring",
        )
    )
    if any(queue.stream for queue in queues):
        findings.append(
            _tried(
                "lag of streams",
                lambda: f"{len(api.rows('stream/consumers', deadline))} stream consumers",
                "enable the plugin rabbitmq_stream_management",
            )
        )
    findings.extend(_plugin(settings, http, queues, deadline))
    return findings


def _plugin(
    settings: RabbitSettings, http: HttpClient, queues: list[ListedQueue], deadline: Deadline
) -> list[Finding]:
    """Read the Prometheus plugin of each URL, and check that together they have all queues."""
    known = texts(queue.name for queue in queues)
    found: dict[Name, QueueDepth] = {}
    findings = []
    for url in settings.prometheus:

        def exposition(url: str = url) -> str:
            answer = http.get(f"{url}/metrics/detailed", deadline, {"family": FAMILY})
            waiting = read_detailed(url, answer, known)
            found.update(waiting)
            return f"{len(waiting)} queues"

        findings.append(
            _tried(
                f"backlog from {url}",
                exposition,
                "enable the plugin rabbitmq_prometheus (3.9 or later)",
            )
        )
    missing = sorted(missing_of(queues, found))
    if all(finding.ok for finding in findings) and missing and settings.prometheus:
        findings.append(Finding("backlog of every queue", ok=False, detail=not_covered(missing)))
    return findings


def _no_hidden(settings: RabbitSettings, hidden: list[str]) -> str:
    hidden = list(dict.fromkeys(hidden))
    if hidden:
        problem = no_permissions(settings.login.username, hidden[0])
        more = f" (and {len(hidden) - 1} more)" if len(hidden) > 1 else ""
        raise CollectError("unauthorized", f"{problem.subject}{more}: {problem.message}")
    return "the user can access every vhost"


def _counted(
    api: ManagementApi, overview: Any, selection: QueueSelection, deadline: Deadline
) -> str:
    found, reader = api.rows("queues", deadline, columns=COLUMNS), Rows()
    rows = list(reader.each(found, lambda row: row if selection.queue(row) else None))
    counted = list(reader.each(rows, lambda row: counts_of(row, 0.0)))
    if rows and not counted and any(row.get("type") != "stream" for row in rows):
        raise CollectError("invalid", STATS_OFF)
    if counting_of(overview).rates_mode == "none":
        raise CollectError("invalid", RATES_OFF)
    missing = uncounted(rows)
    if missing:
        raise CollectError(
            "partial",
            f"{len(missing)} of {len(rows)} queues are in use but have no message counts: "
            f"{listed_names(missing)}; "
            "RabbitMQ counts only AMQP 0-9-1 clients, so rates and ages are absent for queues that "
            "AMQP 1.0 or "
            "MQTT clients use",
        )
    heads = sum(1 for counts in counted if counts.head_age is not None)
    unused = never_counted(rows)
    more = (
        f"; {len(unused)} have consumers but no message counts: {listed_names(unused)}; no message "
        f"was published yet, "
        "or AMQP 1.0 or MQTT clients use them"
        if unused
        else ""
    )
    return (
        f"{len(counted) - len(unused)} queues have message counts; {heads} have a timestamp on the "
        f"message at the head{more}"
    )


def _nodes(api: ManagementApi, deadline: Deadline) -> str:
    """Return the number of nodes, and those in maintenance mode."""
    rows = api.rows("nodes", deadline, columns="name,being_drained")
    drained = [str(row.get("name")) for row in rows if row.get("being_drained") is True]
    found = f"{len(rows)} nodes"
    return f"{found}; in maintenance mode: {', '.join(drained)}" if drained else found


def _tried(feature: str, attempt: Callable[[], str], advice: str) -> Finding:
    required = feature.endswith("(lag)")
    try:
        return Finding(feature, ok=True, detail=attempt(), required=required)
    except CollectError as error:
        detail = f"{error}; {advice}" if advice else str(error)
        return Finding(feature, ok=False, detail=detail, required=required)
