"""Scheduling: which job gets which device, and the one process that assigns them."""
