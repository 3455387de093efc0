"""Exchange rates: what a price in another currency than the contract's is worth."""
