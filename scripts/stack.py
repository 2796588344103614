"""Runs docker-compose.yml without containers: its services as local processes."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

import requests

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from testbed.compose import ComposeError  # noqa: E402 - the project's root is not in the path
from testbed.stack import Stack  # noqa: E402
from testbed.tools import MissingToolError  # noqa: E402

POLL_SECONDS = 1.0
PAGES = {
    "exporter": (("/",), "the exporter's page: which subscriptions lag, and why"),
    "prometheus": (("/alerts", "/classic/alerts"), "alert rules and firing alerts"),
    "alertmanager": (
        ("/api/v2/alerts",),
        "alerts and their receivers (Debian's Alertmanager has no UI)",
    ),
    "rabbitmq": (("/",), "RabbitMQ's management UI; user and password: stack"),
}
"""The page of each service: the first path that exists, because packages differ."""


def main() -> int:
    """Run until Ctrl-C, SIGTERM or the end of a service, and print what the inbox receives."""
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
    """Begin to stop. Ignore further signals, which would interrupt the cleanup."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def page_of(stack: Stack, name: str) -> str:
    """Return the address of a service's page."""
    addresses = [stack.url(name) + path for path in PAGES[name][0]]
    return next((each for each in addresses if requests.get(each, timeout=5).ok), addresses[0])


def watch(stack: Stack, began: float) -> NoReturn:
    """Print the addresses and the notifications. RuntimeError if a service has exited."""
    for name, (_, what) in PAGES.items():
        print(f"{page_of(stack, name):<38} {what}")
    print("An alert fires within two minutes. Notifications:\n", flush=True)
    shown = 0
    while not (ended := stack.ended()):
        text = stack.children["inbox"].log.read_text()
        if len(text) > shown:
            after = time.monotonic() - began
            print(f"After {after:.0f} s, {text[shown:].rstrip()}\n", flush=True)
            shown = len(text)
        time.sleep(POLL_SECONDS)
    raise RuntimeError(f"{', '.join(ended)} exited")


if __name__ == "__main__":
    sys.exit(main())
