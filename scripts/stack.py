"""Runs docker-compose.yml without containers: its services from programs on this machine, but for Grafana. Ctrl-C ends them."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.compose import ComposeError  # noqa: E402 - the project's root is in no one's path
from tests.support.stack import Stack  # noqa: E402
from tests.support.tools import MissingToolError  # noqa: E402

LOOK_SECONDS = 1.0
PAGES = {
    "exporter": ("/", "the exporter's page: what is behind and why"),
    "prometheus": ("/alerts", "the rules, and what fires"),
    "alertmanager": ("/", "who is told of what"),
    "rabbitmq": ("/", "RabbitMQ's own page; user and password are stack"),
}


def main() -> int:
    """Run until Ctrl-C, SIGTERM or a service's end; what the inbox gets is shown."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    try:
        with Stack(lambda word: print(f"  {word}", flush=True), published=True) as stack:
            watch(stack, began)
    except KeyboardInterrupt:
        return 0
    except (MissingToolError, ComposeError, RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1


def watch(stack: Stack, began: float) -> NoReturn:
    """Tell where to look, and what people are told. Raises `RuntimeError` when a service has ended."""
    for name, (path, what) in PAGES.items():
        print(f"{stack.url(name) + path:<32} {what}")
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
