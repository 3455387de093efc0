"""Processes of a node: the worker's lifecycle, and the supervision of each attempt."""
