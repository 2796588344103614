"""What works a source: its tasks on their schedules, its state, and what it shows."""
