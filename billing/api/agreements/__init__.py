"""REST endpoints of what was agreed with the seller: commitments of the contract, and disputes of invoices."""
