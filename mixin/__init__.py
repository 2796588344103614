"""What makes `alerts/` and `dashboards/`."""
