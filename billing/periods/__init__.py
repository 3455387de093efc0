"""Billing periods: which month bills usage, and how one closes."""
