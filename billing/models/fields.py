"""Columns that several tables of billing share."""

from __future__ import annotations

from typing import Any

from django.db import models


def exact(**options: Any) -> models.DecimalField[Any, Any]:
    """Return a column for an amount or a quantity: `numeric(38,12)`."""
    return models.DecimalField(max_digits=38, decimal_places=12, **options)
