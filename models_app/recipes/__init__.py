"""Vetted training programs. A recipe is two files: `spec.py` (no torch) and `train.py` (torch)."""
