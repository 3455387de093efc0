"""The child whose start is timed; it does nothing."""
