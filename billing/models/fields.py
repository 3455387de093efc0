"""Columns shared by several tables of billing."""

from __future__ import annotations

from typing import Any

from django.db import models


def exact(**options: Any) -> models.DecimalField[Any, Any]:
    """Return a column for an amount or a quantity: `numeric(38,12)`."""
    return models.DecimalField(max_digits=38, decimal_places=12, **options)


def lean_tenant() -> models.ForeignKey[Any, Any]:
    """Return the tenant column of a table that takes many rows per second.

    Row-level security binds it to the scope's tenant, and each such row depends on one that references the tenant. So
    it needs no foreign key or index of its own, which would cost more than the insert.
    """
    return models.ForeignKey(
        "tenants.Tenant",
        on_delete=models.PROTECT,
        related_name="+",
        editable=False,
        db_constraint=False,
        db_index=False,
    )
