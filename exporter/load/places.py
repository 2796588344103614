"""Which destination of which system a workload is put on."""

from __future__ import annotations

from exporter.load.clients import LoadError, Place
from exporter.load.kafka import KafkaPlace
from exporter.load.nsq import NsqPlace
from exporter.load.rabbitmq import RabbitPlace


def place_of(
    system: str, address: str, destination: str, group: str, retention: float | None = None
) -> Place:
    """Return the place; nothing is connected yet. A `retention`, in seconds, is for a topic of Kafka only; else `LoadError`."""
    if system == "kafka":
        return KafkaPlace(address, destination, group, retention)
    if retention is not None:
        raise LoadError("--retention applies to Kafka topics only")
    if system == "rabbitmq":
        return RabbitPlace(address, destination)
    return NsqPlace(address, destination, group)
