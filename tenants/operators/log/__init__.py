"""The operator log: its entries, and what becomes one without an operator."""
