"""Devices: one protocol, two samplers (`nvml` for GPUs, `host` for CPU devices)."""
