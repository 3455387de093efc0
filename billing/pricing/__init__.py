"""Price books, the price in force at a moment, and quotes."""
