"""Sources whose destinations are queues."""
