"""The contract of a column: how each of its cells is read, and how that is inferred."""
