"""Generates `alerts/` and `dashboards/`."""
