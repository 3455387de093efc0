"""The kinds of column and their storage in the canonical Parquet. Imports nothing: the web process reads it."""

from __future__ import annotations

NUMERIC = "numeric"
BOOLEAN = "boolean"
DATETIME = "datetime"
CATEGORICAL = "categorical"
TEXT = "text"
EMPTY = "empty"
KINDS = (NUMERIC, BOOLEAN, DATETIME, CATEGORICAL, TEXT, EMPTY)

KIND_KEY = b"exchequer.kind"
"""Key in the metadata of each field of the canonical Parquet."""

MAX_CATEGORIES = 256
"""A text column with more distinct values is free text, not categories."""

MAX_CLASSES = 100
"""Maximum classes of a classifier's target."""

MIN_TRAINING_ROWS = 30
"""Minimum rows with a target for a split and training."""
