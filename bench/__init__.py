"""Measures the exporter on a real broker at known sizes; compares each series with the truth."""
