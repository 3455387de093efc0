"""Reads of billing: SQL sums over roll-ups, frozen dataclasses out."""

from billing.queries.billed import Billed, billed, billed_attempts

__all__ = ["Billed", "billed", "billed_attempts"]
