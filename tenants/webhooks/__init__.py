"""Webhooks: events of a tenant, sent to addresses that it names, signed, retried for three days.

Apps register in `catalogue` which of their events webhooks can receive, and what these say. `publishing` makes a
delivery for each webhook that wants an event; `delivering` makes one attempt; `retries` wakes what is due.
"""
