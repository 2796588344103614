"""Follows the committed offsets in Kafka's topic `__consumer_offsets`."""
