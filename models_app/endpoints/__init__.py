"""Endpoints: deployed, called with keys, tried, paid for."""
