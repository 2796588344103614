"""Turns observations into lag, ages and rates. No I/O; time is an argument."""
