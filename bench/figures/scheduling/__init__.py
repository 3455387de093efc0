"""Figures of scheduling: one pool against walls, packing, and the time of a decision."""
