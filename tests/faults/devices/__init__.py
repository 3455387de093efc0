"""Faults and parts of devices, on a stand-in for the driver."""
