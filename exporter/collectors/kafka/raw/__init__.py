"""Kafka's protocol itself, for the few requests that librdkafka does not have."""
