"""Wallets: credit that was given or bought, what invoices use of it, prepaid work, and top-ups."""
