"""Nodes and devices, and how operators manage them."""
