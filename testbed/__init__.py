"""Starts and stops real brokers, workloads and other programs, for tests, bench and the stack."""
