"""Reads which nodes of a RabbitMQ cluster run, and their alarms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from exporter.collectors.rabbitmq.api import ManagementApi
from exporter.collectors.rabbitmq.features import Feature
from exporter.collectors.rabbitmq.maintenance import Maintenance
from exporter.collectors.reply_rows import Rows, text
from exporter.model import CollectError, Deadline, Problem

NO_MONITORING = "give the user the tag monitoring"


class NodeReader:
    """Reads the list of nodes, and passes it to `maintenance`."""

    def __init__(self, api: ManagementApi, maintenance: Maintenance, feature: Feature) -> None:
        self._api = api
        self._maintenance = maintenance
        self._feature = feature

    def read(
        self, deadline: Deadline, problems: list[Problem], reader: Rows
    ) -> tuple[Mapping[str, bool] | None, Sequence[str]]:
        """Return which nodes run, and the alarms.

        None and no alarms if the user may not see them.
        """
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
        self._maintenance.observe(named)
        return nodes, [alarm for row in named.values() for alarm in _alarms(row)]


def _alarms(row: Mapping[str, Any]) -> list[str]:
    kinds = {"mem_alarm": "memory", "disk_free_alarm": "disk"}
    return [
        f"{kind} alarm on {row.get('name')}: publishers are blocked"
        for key, kind in kinds.items()
        if row.get(key) is True
    ]
