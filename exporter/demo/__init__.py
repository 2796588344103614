"""The demo: the daemon against brokers of its own, with a small workload."""
