"""Operators: who they are, the operator log, and the metrics they see of every tenant."""
