"""Exports of what was billed."""
