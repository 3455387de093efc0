"""Acts on invoices that a second operator approves, as the seller decides."""
