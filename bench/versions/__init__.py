"""Measures the exporter on every version of a broker that can be had."""
