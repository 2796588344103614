"""Checks the metrics of the embedded cluster with `promtool check metrics`."""

from __future__ import annotations

import json
import subprocess
import sys
import time

from exporter import logging_setup
from exporter.config import parse
from exporter.daemon import Daemon
from exporter.demo.kafka import DemoWorkload, EmbeddedKafka, GroupScript
from exporter.demo.run import demo_collector

CONFIG = """
sources:
  - {{name: lint, system: kafka, bootstrap_servers: "{servers}", groups: {{names: [{group}]}}}}
"""
GROUP = 'a"\\🙂'
LAST = (
    b"mq_consumed_messages_per_second",
    b"mq_lag_seconds",
    b"mq_latency_seconds_bucket",
    b"mq_probe_latency_seconds_bucket",
)
"""The metrics that take longest to appear."""
PATIENCE_SECONDS = 60.0


def page() -> bytes:
    """Return an exposition with every kind of series of the embedded cluster."""
    logging_setup.configure("console", "error")
    cluster = EmbeddedKafka()
    workload = DemoWorkload(
        cluster.bootstrap_servers, {"t": 50.0}, (GroupScript(GROUP, "t", 20.0),)
    )
    config = parse(
        CONFIG.format(servers=cluster.bootstrap_servers, group=json.dumps(GROUP)), "lint"
    )
    cluster.make_topics("t", config.sources[0].probe.destination)
    daemon = Daemon(config, make=demo_collector(workload))
    workload.start()
    until = time.monotonic() + PATIENCE_SECONDS
    found = b""
    while missing := [name.decode() for name in LAST if name + b"{" not in found]:
        if time.monotonic() > until:
            sys.exit(
                f"still missing in /metrics after {PATIENCE_SECONDS:g} s: {', '.join(missing)}"
            )
        daemon.run_once()
        time.sleep(0.5)
        found = b"".join(daemon.exposition.response("", "").content())
    daemon.stop()
    workload.stop(10)
    return found


def main() -> int:
    """Return promtool's exit code, or 1 if it reports anything."""
    answer = subprocess.run(
        ["promtool", "check", "metrics"], input=page(), capture_output=True, check=False
    )
    said = (answer.stdout + answer.stderr).decode()
    if said:
        print(said, end="")
    return answer.returncode or int(bool(said))


if __name__ == "__main__":
    sys.exit(main())
