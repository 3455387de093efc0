"""Collecting: what the ops worker asks the payment provider to do for invoices, and what it reports. See the README."""
