"""Measures the exporter on all available versions of the brokers."""
