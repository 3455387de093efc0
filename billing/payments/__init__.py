"""Collecting money: what billing asks of a payment provider, through Stripe or by hand."""
