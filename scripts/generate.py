"""Writes the files that are made from code: the metric reference, the config's schema, the rules."""

from __future__ import annotations

import sys
from pathlib import Path

from exporter.catalogue import CATALOGUE, Metric

sys.path.insert(0, str(Path(__file__).parent))

import generate_schema

from mixin import alerts, boards

ROOT = Path(__file__).parent.parent
HEAD = """\
# Metrics

Made from `exporter/catalogue.py` by `make generate`; don't edit.

A label that does not apply is left out. Metrics marked *per partition* carry the label `partition` too, unless the
source's `granularity` is `subscription`: then they have the sum over the partitions (of seconds: the largest), and a
subscription with a partition that can't be read is left out. A source's static `labels` from the config are on all its
series.

Counters start at 0 with the process. Those that follow a broker's log add the forward movement that was observed;
those that count events are there at 0 from the first sight of their subscription, and what already was so at the first
sight is not an event. What each number means, and how far it can be off: [meaning.md](meaning.md).
"""


def metric_docs() -> str:
    """Return the reference as Markdown."""
    parts = [HEAD]
    for section in dict.fromkeys(metric.section for metric in CATALOGUE):
        parts.append(f"\n## {section}\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n")
        parts += [_row(metric) for metric in CATALOGUE if metric.section == section]
    parts.append(
        "| `mq_exporter_build_info` | gauge | version, python, confluent_kafka | Always 1. |\n"
        "| `mq_config_last_reload_successful` | gauge | | 1 if the config that was read last is in force, 0 if it was refused. |\n"
        "| `mq_config_last_reload_success_timestamp_seconds` | gauge | | When the config that is in force was read. |\n"
        "| `process_*`, `python_*` | | | The process, as `prometheus_client` shows it. |\n"
    )
    return "".join(parts)


def _row(metric: Metric) -> str:
    labels = ", ".join(metric.labels) + (" *per partition*" if metric.per_partition else "")
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help}{_buckets(metric)} |\n"


def _buckets(metric: Metric) -> str:
    if not metric.buckets:
        return ""
    return f" Buckets: {', '.join(f'{bound:g}' for bound in metric.buckets)}, +Inf."


def main() -> None:
    """Write every generated file."""
    (ROOT / "docs" / "metrics.md").write_text(metric_docs(), encoding="utf-8")
    (ROOT / "config" / "schema.json").write_text(generate_schema.schema(), encoding="utf-8")
    for path, text in {**alerts.files(), **boards.files()}.items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
