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
"""A text column with more different values than this is free text, not categories."""

MAX_CLASSES = 100
"""The most classes that a target of a classifier may have."""

MIN_TRAINING_ROWS = 30
"""Fewer rows with a target than these are neither split nor trained on."""
