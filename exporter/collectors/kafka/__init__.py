"""Apache Kafka, through the admin client of librdkafka."""
