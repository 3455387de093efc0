"""Devices that do nothing: found, told to the person with what they cost, snoozed, and stopped with a checkpoint."""
