"""Sources whose destinations are logs."""
