"""Messages of the exporter's own, which time each broker of a Kafka cluster end to end."""
