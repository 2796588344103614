"""What the names of a source say about its config: patterns without effect, what to exclude."""
