"""Devices, jobs, attempts, leases, and the sandbox around a training child."""
