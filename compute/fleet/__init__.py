"""Nodes and devices, as operators see and change them."""
