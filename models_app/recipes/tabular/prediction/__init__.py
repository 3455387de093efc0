"""Prediction with a trained tabular model: requests, tables, and columns of later files."""
