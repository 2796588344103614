"""Which destination of which system a workload is put on."""

from __future__ import annotations

from exporter.load.clients import Place
from exporter.load.kafka import KafkaPlace
from exporter.load.nsq import NsqPlace
from exporter.load.rabbitmq import RabbitPlace


def place_of(system: str, address: str, destination: str, group: str) -> Place:
    """Return the place; nothing is connected yet."""
    if system == "kafka":
        return KafkaPlace(address, destination, group)
    if system == "rabbitmq":
        return RabbitPlace(address, destination)
    return NsqPlace(address, destination, group)
