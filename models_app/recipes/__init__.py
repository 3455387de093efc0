"""Vetted ways to learn from data. A recipe is two files: `spec.py` (no torch) and `train.py` (torch)."""
