"""Advice for missing broker statistics."""

from __future__ import annotations

STATS_OFF = (
    "the management API has no queue statistics; remove the setting that disables them from "
    "rabbitmq.conf: "
    "management_agent.disable_metrics_collector = true, management.disable_stats = true, or "
    "(RabbitMQ 3.13 and "
    "later) deprecated_features.permit.management_metrics_collection = false"
)
