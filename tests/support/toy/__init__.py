"""Two made-up systems, added as CONTRIBUTING says: a config model, a collector and a row each."""
