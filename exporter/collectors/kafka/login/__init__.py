"""Logins for which librdkafka needs help: tokens, and mechanisms of cloud providers."""
