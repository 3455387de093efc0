"""The HTTP side of a serving node."""
