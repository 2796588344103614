"""When the unread messages of a Kafka cluster were enqueued."""
