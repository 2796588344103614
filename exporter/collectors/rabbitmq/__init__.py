"""RabbitMQ: read through its management API, probed by AMQP."""
