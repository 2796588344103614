"""If a quota delays the exporter's requests, the error names it, not just a timeout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from testbed.exporter import Exporter, kafka_source
from testbed.kafka import KafkaCluster
from testbed.kafka_data import commit_offsets, create_topic
from testbed.kafka_runtime import run_tool
from testbed.waiting import wait_until

GROUPS = 40


def test_a_quota_that_starves_the_exporter_is_named(tmp_path: Path) -> None:
    with KafkaCluster(brokers=1) as cluster:
        create_topic(cluster.bootstrap, "orders", 20)
        for number in range(GROUPS):
            commit_offsets(cluster.bootstrap, f"g{number}", {("orders", p): 0 for p in range(20)})
        run_tool(
            "kafka.admin.ConfigCommand",
            *("--bootstrap-server", cluster.bootstrap, "--alter"),
            *("--entity-type", "clients", "--entity-name", "mq-lag-exporter"),
            *("--add-config", "request_percentage=0.02"),
        )
        source = kafka_source(cluster.bootstrap, deadline="5s")
        with Exporter(tmp_path, [source]) as exporter:

            def status() -> dict[str, Any]:
                found: dict[str, Any] = exporter.get("/api/v1/subscriptions").json()["sources"][0]
                return found

            wait_until(lambda: "request_percentage" in status()["message"], "the quota", 120, 0.2)
            assert "bootstrap_servers" not in json.dumps(status())
