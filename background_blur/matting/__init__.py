"""Frame to alpha."""
