"""Makes the README's picture: the demo's table after a while, as an SVG."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from rich.console import Console

from exporter import logs
from exporter.config import parse
from exporter.daemon import Daemon
from exporter.demo import CONFIG, demo_collector
from exporter.embedded import READERS, TOPICS, EmbeddedKafka, Workload
from exporter.top import View

SECONDS = 75
WIDTH = 128
TARGET = Path(__file__).parent.parent / "docs" / "top.svg"


def main() -> None:
    """Run the demo's workload for a while and write the picture."""
    logs.configure("console", "error")
    cluster = EmbeddedKafka()
    workload = Workload(cluster.bootstrap_servers, TOPICS, READERS)
    groups = [reader.group for reader in READERS]
    text = CONFIG.format(
        listen="127.0.0.1:9877", bootstrap_servers=cluster.bootstrap_servers, groups=groups
    )
    config = parse(text, "picture")
    cluster.make_topic(config.sources[0].probe.destination)
    daemon = Daemon(config, make=demo_collector)
    workload.start()
    daemon.collect()
    view = View()
    for _ in range(SECONDS):
        time.sleep(1)
        view.take(daemon.overview())
    console = Console(record=True, width=WIDTH, file=Path(os.devnull).open("w"))  # noqa: SIM115
    screen = view.screen(daemon.overview(), 10, "http://127.0.0.1:9877/metrics", WIDTH)
    console.print(screen)
    console.save_svg(str(TARGET), title="mq-lag-exporter demo")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
