"""Chargeback, tags that work must carry, and shared cost."""
