"""The command line with the made-up systems."""

from __future__ import annotations

import sys

from exporter.model import Words
from exporter.systems import SYSTEMS, System

SYSTEMS["ledger"] = System(
    config="tests.support.toy.config:LedgerSource",
    settings="tests.support.toy.from_config:toy_settings",
    collector="tests.support.toy.collector:ledger_collector",
    destinations="logs",
)
SYSTEMS["pile"] = System(
    config="tests.support.toy.config:PileSource",
    settings="tests.support.toy.from_config:toy_settings",
    collector="tests.support.toy.collector:pile_collector",
    destinations="queues",
    words=Words(part="heap"),
)

if __name__ == "__main__":
    from exporter.cli import main

    sys.exit(main())
