"""Two made-up systems, added as CONTRIBUTING says: a config model, a collector and one row each."""
