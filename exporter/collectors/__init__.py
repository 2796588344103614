"""Readers of the brokers: a folder for each system, and what they share."""
