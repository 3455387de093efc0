"""Chargeback: a month of the invoice by project, person, tag and the like, and shared cost in that view."""
