"""A separate process for each source, so that a crash affects only one source."""
