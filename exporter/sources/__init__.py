"""Running sources: their tasks, their state, and what they expose."""
