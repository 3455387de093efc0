"""API of an organisation's account with the seller: payment methods, statements, and what-ifs of its contract."""
