"""Readings: events of meters whose usage is the highest, the last, the distinct or the time-weighted value of a series."""
