"""Emails about invoices: the invoice itself with its PDF, and reminders. The ops worker sends them."""
