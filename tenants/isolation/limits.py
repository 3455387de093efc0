"""Limits on how many rows there may be, and on rows of one name, which hold for requests at once, too."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, connection, models, transaction

from tenants.errors import ExchequerError
from tenants.isolation.scoping import TenantModel, current_tenant_id

LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"


def take_turns(table: type[models.Model], of: object = "") -> None:
    """Wait until no other transaction makes such rows; those of another tenant, or of something else, do not wait.

    Call it in a transaction, whose end lets the next one go on, and before what depends on these rows is read.
    """
    tenant = current_tenant_id() if issubclass(table, TenantModel) else ""
    with connection.cursor() as cursor:
        cursor.execute(LOCK, [f"rows of {table._meta.db_table} {tenant} {of}"])


def is_full(rows: models.QuerySet[Any], most: int, of: object = "") -> bool:
    """Return whether there are `most` of these rows already; the caller then makes none.

    Two that ask at once are counted one after the other (`take_turns`). `of`: whose rows are counted, if not the tenant's.
    """
    take_turns(rows.model, of)
    return rows[most - 1 : most].exists()


def save_unique(row: models.Model, constraint: str, taken: type[ExchequerError], **how: Any) -> None:
    """Save a row, and raise `taken` where another one has what this constraint allows once. `how`: as `Model.save` takes it."""
    try:
        with transaction.atomic():
            row.save(**how)
    except IntegrityError as error:
        if constraint in str(error):
            raise taken from error
        raise
