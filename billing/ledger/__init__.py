"""The double-entry ledger, and what must agree with it."""
