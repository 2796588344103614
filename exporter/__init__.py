"""A lag monitoring exporter for Kafka, RabbitMQ and NSQ."""

__version__ = "0.1.0"
