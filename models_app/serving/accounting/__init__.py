"""Accounting of predictions: reservations, the spool, settlement with billing."""
