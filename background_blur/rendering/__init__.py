"""Alpha and frame to result."""
