"""Meters that take readings."""
