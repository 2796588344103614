"""Creates the README's pictures from the demo: the terminal table (SVG) and the page (PNG)."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright
from rich.console import Console

from exporter import logging_setup
from exporter.config import parse
from exporter.daemon import Daemon
from exporter.demo.kafka import READERS, TOPICS, DemoWorkload, EmbeddedKafka
from exporter.demo.run import CONFIG, demo_collector, free
from exporter.show.top import TableView

SECONDS = 150
WIDTH = 128
DOCS = Path(__file__).parent.parent / "docs"
ADDRESS = "127.0.0.1:9877"
CHROMIUM = "/usr/bin/chromium"


def main() -> None:
    """Run the demo's workload for a while and write the pictures."""
    logging_setup.configure("console", "error")
    cluster = EmbeddedKafka()
    workload = DemoWorkload(cluster.bootstrap_servers, TOPICS, READERS)
    groups = [reader.group for reader in READERS]
    listen = free(ADDRESS)
    text = CONFIG.format(listen=listen, bootstrap_servers=cluster.bootstrap_servers, groups=groups)
    config = parse(text, "picture")
    cluster.make_topics(*TOPICS, config.sources[0].probe.destination)
    daemon = Daemon(config, make=demo_collector(workload))
    workload.start()
    daemon.start()
    view = TableView()
    print(f"pictures of the demo: {SECONDS} s of it", flush=True)
    for _ in range(SECONDS):
        time.sleep(1)
        view.remember(daemon.overview())
    _terminal(view, daemon)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        _page(browser, f"http://{listen}/", DOCS / "page.png", "light")
        billing = f"http://{listen}/#/kafka/demo//orders/billing"
        _page(browser, billing, DOCS / "page-one.png", "dark")
        browser.close()
    sys.stdout.flush()
    os._exit(0)


def _terminal(view: TableView, daemon: Daemon) -> None:
    console = Console(record=True, width=WIDTH, file=Path(os.devnull).open("w"))  # noqa: SIM115
    console.print(view.screen(daemon.overview(), 10, f"http://{ADDRESS}/metrics", WIDTH))
    console.save_svg(str(DOCS / "top.svg"), title="mq-lag-exporter demo")


def _page(browser: Browser, address: str, target: Path, scheme: str) -> None:
    size = {"width": 1120, "height": 480}
    page = browser.new_page(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(address)
    page.wait_for_selector("#main[aria-busy=false]")
    page.wait_for_selector("#rows tr, #detail h2", state="attached")
    page.screenshot(path=str(target), full_page=True)


if __name__ == "__main__":
    main()
