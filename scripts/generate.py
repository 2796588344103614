"""Writes the generated files: metric reference, config schema, rules and dashboards."""

from __future__ import annotations

import sys
from pathlib import Path

from exporter.catalogue import CATALOGUE, Metric

sys.path.insert(0, str(Path(__file__).parent))

import generate_schema

from mixin import boards, rule_files

ROOT = Path(__file__).parent.parent
HEAD = """\
# Metrics

Generated from `exporter/catalogue.py` by `make generate`. Do not edit.

A label that does not apply is left out. Metrics marked *per partition* also carry the label
`partition`, unless the source's `granularity` is `subscription`. With `subscription`, the value is
the sum over the partitions (for seconds: the maximum), and it is absent while a partition of the
subscription cannot be read. The static `labels` of a source in the config are added to all its
series.

Counters start at 0 when the exporter starts. Counters that follow a broker's log add the forward
movement that the exporter observed. Counters of events are exposed at 0 as soon as their
subscription is discovered, so that `increase()` sees the first event. Events before that are not
counted. [meaning.md](meaning.md) explains what each number means and how accurate it is.
"""


def metric_docs() -> str:
    """Return the reference as Markdown."""
    parts = [HEAD]
    for section in dict.fromkeys(metric.section for metric in CATALOGUE):
        parts.append(f"\n## {section}\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n")
        parts += [_row(metric) for metric in CATALOGUE if metric.section == section]
    parts.append(
        "| `mq_exporter_build_info` | gauge | version, python, confluent_kafka | "
        "Always 1; the labels are the versions of the exporter, Python and confluent-kafka. |\n"
        "| `mq_config_last_reload_successful` | gauge | | 1 if the last config reload "
        "succeeded, 0 if the new config was rejected and the previous one is still in use. |\n"
        "| `mq_config_last_reload_success_timestamp_seconds` | gauge | | "
        "Unix time at which the config in use was loaded. |\n"
        "| `process_*`, `python_*` | | | Process and Python metrics of `prometheus_client`. |\n"
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
    for path, text in {**rule_files.files(), **boards.files()}.items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
