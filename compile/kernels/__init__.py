"""What one kernel computes and the C that computes it."""
