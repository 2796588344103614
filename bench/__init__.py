"""Measures the exporter on a real broker, at known sizes, and holds each series to the truth."""
