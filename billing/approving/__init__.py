"""Acts of operators on invoices: at once, or by a request that a second operator approves."""
