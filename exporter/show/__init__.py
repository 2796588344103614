"""What people and Prometheus are shown: the exposition, the overview, the table in the terminal."""
