"""Writes the rule files.

`alerts/recording.yml` and `alerts/alerts.yml` are Prometheus rule files.
`deploy/kubernetes/prometheusrule.yaml` contains the same rules for the Prometheus Operator.
"""

from __future__ import annotations

from typing import Any

import yaml

from mixin.alerts import ALERTS
from mixin.recording import RECORDING

HEAD = "# Generated from mixin/ by `make generate`. Do not edit. Runbooks: docs/runbooks/.\n"


class _Text(str):
    """A text that is written as a YAML block."""

    __slots__ = ()


def _block(dumper: yaml.SafeDumper, text: _Text) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style="|")


class _Dumper(yaml.SafeDumper):
    """Writes PromQL as blocks, and no aliases."""

    def ignore_aliases(self, _: Any) -> bool:
        """Write everything out."""
        return True


_Dumper.add_representer(_Text, _block)


def _written(data: Any) -> str:
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)
    return HEAD + text


def _rules(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**rule, "expr": _Text(rule["expr"])} for rule in rules]


def recording_groups() -> list[dict[str, Any]]:
    """Return the recording rules."""
    rules = [{"record": name, "expr": expr + "\n"} for name, expr in RECORDING]
    return [{"name": "mq-lag-exporter.recording", "rules": _rules(rules)}]


def alert_groups() -> list[dict[str, Any]]:
    """Return the alert rules, a group a scope."""
    scopes = list(dict.fromkeys(alert.scope for alert in ALERTS))
    return [
        {
            "name": f"mq-lag-exporter.{scope}",
            "rules": _rules([alert.rule() for alert in ALERTS if alert.scope == scope]),
        }
        for scope in scopes
    ]


def files() -> dict[str, str]:
    """Return each file's text by its path."""
    groups = [*recording_groups(), *alert_groups()]
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": "mq-lag-exporter",
            "labels": {"app.kubernetes.io/name": "mq-lag-exporter"},
        },
        "spec": {"groups": groups},
    }
    return {
        "alerts/recording.yml": _written({"groups": recording_groups()}),
        "alerts/alerts.yml": _written({"groups": alert_groups()}),
        "deploy/kubernetes/prometheusrule.yaml": _written(resource),
    }
