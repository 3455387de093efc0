"""Rows that erasure meets."""
