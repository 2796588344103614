"""Kafka's protocol, for the few requests that librdkafka does not support."""
