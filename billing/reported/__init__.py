"""Reported usage: received, reviewed, limited, voided."""
