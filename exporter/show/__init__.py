"""Presents the data: the exposition, the overview, the table in the terminal."""
