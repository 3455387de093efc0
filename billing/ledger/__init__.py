"""The double-entry ledger, and its reconciliation."""
