"""Messages that the exporter sends to time each broker of a Kafka cluster end to end."""
