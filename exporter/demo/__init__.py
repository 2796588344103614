"""The demo: the daemon with embedded brokers and a small workload."""
