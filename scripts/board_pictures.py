"""Creates the pictures of the dashboards from a load, the exporter and a Prometheus.

Grafana is not needed. tools/board-viewer draws the panels with Grafana's component library, in
Chromium; it needs Node.js and npm. `--prometheus` draws from a Prometheus that runs already.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from testbed.showcase import SOURCES, Showcase
from testbed.tools import ROOT

VIEWER = ROOT / "tools" / "board-viewer"
BOARDS = ROOT / "dashboards"
PICTURES = ROOT / "docs" / "dashboards"
CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--force-color-profile=srgb", "--hide-scrollbars"]
SCRAPE = "1s"
"""How often the Prometheus of the showcase scrapes."""
SETTLED = 700
"""Milliseconds after which the page has its final height."""


def main() -> None:
    """Write a picture of each dashboard."""
    options = _options()
    page = built_viewer()
    if options.prometheus:
        draw(page, options, options.prometheus, {})
        return
    with (
        tempfile.TemporaryDirectory(prefix="mq-lag-exporter-pictures-") as folder,
        Showcase(Path(folder), options.clusters, long_names=options.long_names) as showcase,
    ):
        seconds = options.minutes * 60
        for part, then in ((0.2, showcase.slow_down), (0.6, showcase.recover), (0.2, None)):
            time.sleep(seconds * part)
            if then is not None:
                then()
        draw(page, options, showcase.prometheus_url, subscription(showcase))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=PICTURES, help="folder of the pictures")
    parser.add_argument("--minutes", type=int, default=4, help="time range, and how long to wait")
    parser.add_argument("--width", type=int, default=1600, help="width of the pictures in pixels")
    parser.add_argument("--clusters", nargs="*", default=(), help="names of clusters")
    parser.add_argument("--long-names", action="store_true", help="names of 60 letters")
    parser.add_argument("--unfolded", action="store_true", help="open the folded rows")
    parser.add_argument("--prometheus", help="draw from this address instead of a showcase")
    parser.add_argument("--scrape", default=SCRAPE, help="its scrape interval")
    return parser.parse_args()


def built_viewer() -> Path:
    """Return the page of the viewer; its packages and the result are kept in .cache."""
    for name in ("node", "npm"):
        if shutil.which(name) is None:
            sys.exit(f"board_pictures.py: no {name}: install Node.js 20 or newer, and npm")
    files = sorted(path for path in VIEWER.rglob("*") if path.is_file())
    content = b"".join(path.read_bytes() for path in files)
    folder = ROOT / ".cache" / "board-viewer"
    stamp = folder / "stamp"
    wanted = hashlib.sha256(content).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        lock = VIEWER / "package-lock.json"
        kept = folder / lock.name
        installed = kept.exists() and kept.read_bytes() == lock.read_bytes()
        stamp.unlink(missing_ok=True)
        shutil.copytree(VIEWER, folder, dirs_exist_ok=True)
        if not installed or not (folder / "node_modules").exists():
            print("installing the viewer's packages; this takes a minute the first time")
            # No package of the viewer needs a script of its own at installation
            npm = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            subprocess.run(npm, cwd=folder, check=True)
        subprocess.run(["node", "build.mjs"], cwd=folder, check=True)
        stamp.write_text(wanted)
    return folder / "dist" / "index.html"


def subscription(showcase: Showcase) -> dict[str, list[str]]:
    """Return what is chosen on the dashboard of one subscription."""
    return {
        "system": ["kafka"],
        "source": [SOURCES[0]],
        "destination": [showcase.name("orders")],
        "group": [showcase.name("billing")],
    }


def draw(
    page: Path, options: argparse.Namespace, prometheus: str, chosen: dict[str, list[str]]
) -> None:
    """Write the pictures. Exits with 1 if a query failed."""
    options.out.mkdir(parents=True, exist_ok=True)
    failed = False
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for path in sorted(BOARDS.glob("*.json")):
            how = {
                "prometheus": prometheus,
                "width": options.width,
                "minutes": options.minutes,
                "scrape": options.scrape,
                "unfolded": options.unfolded,
                "chosen": chosen if path.stem == "mq-subscription" else {},
            }
            target = options.out / f"{path.stem}.png"
            seen = _picture(browser, page, json.loads(path.read_text()), how, target)
            failed |= _told(path.stem, seen, target)
        browser.close()
    if failed:
        sys.exit(1)


def _picture(
    browser: Browser, viewer: Path, board: dict[str, Any], how: dict[str, Any], target: Path
) -> dict[str, Any]:
    """Draw one dashboard; return what the viewer reports."""
    page = browser.new_page(viewport={"width": how["width"], "height": 1000})
    page.goto(viewer.as_uri())
    seen: dict[str, Any] = page.evaluate("([board, how]) => window.draw(board, how)", [board, how])
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": how["width"], "height": height})
    page.wait_for_timeout(SETTLED)
    picture = base64.b64encode(page.screenshot()).decode()
    target.write_bytes(base64.b64decode(page.evaluate("text => window.shrink(text)", picture)))
    page.close()
    return seen


def _told(name: str, seen: dict[str, Any], target: Path) -> bool:
    """Print what was seen; return whether a query failed."""
    slowest = max(seen["queries"], key=lambda query: query.get("milliseconds", 0))
    print(
        f"{name}: {target.stat().st_size // 1000} kB, {len(seen['queries'])} queries, "
        f"the slowest {slowest['milliseconds']} ms"
    )
    empty = [panel["title"] for panel in seen["panels"] if not panel["rows"]]
    if empty:
        print(f"  empty: {', '.join(empty)}")
    errors = [panel["error"] for panel in seen["panels"] if panel.get("error")]
    for error in errors:
        print(f"  {error}")
    return bool(errors)


if __name__ == "__main__":
    main()
