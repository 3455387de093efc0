"""Leases of attempts on devices: claim, heartbeats, samples, and the end."""
