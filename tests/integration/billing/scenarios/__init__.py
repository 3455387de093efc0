"""Months of billing, from use to what a person reads of it."""
