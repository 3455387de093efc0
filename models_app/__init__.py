"""What was learnt from which data. Stays empty: the sandboxed runner imports this package without Django."""
