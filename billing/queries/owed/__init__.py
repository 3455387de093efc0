"""What is owed, as pages show it: invoices at the payment provider, overdue ones, statements of account."""
