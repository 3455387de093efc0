"""Datasets, models and serving. Stays empty: the sandboxed runner imports this package without Django."""
