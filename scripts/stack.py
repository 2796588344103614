"""Runs docker-compose.yml without containers: its services from programs on this machine, but for Grafana. Ctrl-C ends them."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

import requests

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from testbed.compose import ComposeError  # noqa: E402 - the project's root is in no one's path
from testbed.stack import Stack  # noqa: E402
from testbed.tools import MissingToolError  # noqa: E402

LOOK_SECONDS = 1.0
PAGES = {
    "exporter": (("/",), "the exporter's page: what is behind and why"),
    "prometheus": (("/alerts", "/classic/alerts"), "the rules, and what fires"),
    "alertmanager": (("/api/v2/alerts",), "who is told of what; Debian's Alertmanager has no page"),
    "rabbitmq": (("/",), "RabbitMQ's own page; user and password are stack"),
}
"""Where to look: the first path that is there, as packages differ."""


def main() -> int:
    """Run until Ctrl-C, SIGTERM or a service's end; what the inbox gets is shown."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    began = time.monotonic()
    try:
        with Stack(lambda word: print(f"  {word}", flush=True), published=True) as stack:
            watch(stack, began)
    except KeyboardInterrupt:
        return 0
    except (MissingToolError, ComposeError, RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1


def end(*_: object) -> NoReturn:
    """Begin to end; further signals would only cut that short."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def page_of(stack: Stack, name: str) -> str:
    """Return the address of a service's page."""
    addresses = [stack.url(name) + path for path in PAGES[name][0]]
    return next((each for each in addresses if requests.get(each, timeout=5).ok), addresses[0])


def watch(stack: Stack, began: float) -> NoReturn:
    """Tell where to look, and what people are told. Raises `RuntimeError` when a service has ended."""
    for name, (_, what) in PAGES.items():
        print(f"{page_of(stack, name):<38} {what}")
    print("An alert fires within two minutes. What people are told:\n", flush=True)
    shown = 0
    while not (ended := stack.ended()):
        text = stack.children["inbox"].log.read_text()
        if len(text) > shown:
            after = time.monotonic() - began
            print(f"After {after:.0f} s, {text[shown:].rstrip()}\n", flush=True)
            shown = len(text)
        time.sleep(LOOK_SECONDS)
    raise RuntimeError(f"{', '.join(ended)} ended")


if __name__ == "__main__":
    sys.exit(main())
