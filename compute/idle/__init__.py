"""Devices that do nothing: found, reported with what they cost, snoozed, and stopped with a checkpoint."""
