"""Endpoints: deployment, keys, the playground, and reservations."""
