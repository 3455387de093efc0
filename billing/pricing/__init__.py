"""Price books, the price in force at a given time, and quotes."""
