"""What to do where the broker does not say what it could."""

from __future__ import annotations

STATS_OFF = (
    "the management API has no statistics of queues; remove from rabbitmq.conf what switches them off: "
    "management_agent.disable_metrics_collector = true, management.disable_stats = true, or, in RabbitMQ 3.13 and "
    "later, deprecated_features.permit.management_metrics_collection = false"
)
