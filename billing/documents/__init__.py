"""Documents of invoices and credit notes: typeset as PDF by a child process, and listed as CSV."""
