"""Predict with a trained tabular model: requests, tables, columns of a later file."""
