"""How the clients of one Kafka source log in where librdkafka needs help: tokens, and mechanisms of a cloud."""
