"""Downloads of exports: each is an entry of the audit log, or of the operators' log, before a byte is sent."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import IO
from uuid import UUID

from django.db import connection

from billing.exports.charge import Charge
from billing.exports.documents import Days, charges, details
from billing.exports.profiles import INVOICE_DETAIL, PROFILES
from billing.exports.spooled import as_parquet, place, spooled
from billing.queries import issued
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record
from tenants.errors import NotFound
from tenants.isolation.scoping import snapshot_scope, tenant_scope
from tenants.models import Tenant
from tenants.operators.operator import Operator
from tenants.operators.operator_log import record_act

EXPORT_DOWNLOADED = AuditAction("billing.export.downloaded", while_closing=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An export: days, the version of FOCUS or `plain`, and the format of the file."""

    days: Days
    version: str = "1.2"
    form: str = "csv"

    @property
    def filename(self) -> str:
        """The file's name, such as focus-1.2-2027-03.csv."""
        kind = "charges" if self.version == "plain" else f"focus-{self.version}"
        return f"{kind}-{self.days.label}.{self.form}"


@operation(EXPORT_DOWNLOADED)
def note(*, actor: Actor, asked: Asked) -> None:
    """Record in the tenant's audit log that an export was downloaded."""
    actor.require("invoices.view")
    record(
        EXPORT_DOWNLOADED,
        actor=actor,
        target=("export", None, asked.filename),
        changes={"file": [None, asked.filename]},
    )


def taken(*, actor: Actor, asked: Asked) -> IO[bytes]:
    """Return an export of the actor's tenant as an open file; outside a transaction it is of one moment.

    Raises Invalid for a range that is too long, ExportTooLarge, TooManyExports, ParquetFailed.
    """
    asked.days.check()
    scope = tenant_scope if connection.in_atomic_block else snapshot_scope
    with place():
        with scope(actor.tenant_id):
            table = _spooled(asked, charges(asked.days))
        content = _in_form(asked, table)
    with tenant_scope(actor.tenant_id):
        note(actor=actor, asked=asked)
    return content


def taken_by_operator(*, operator: Operator, asked: Asked, tenant_id: UUID | None = None) -> IO[bytes]:
    """Return the export of one tenant, or of all that have an invoice in these days: by line, with projects as ids.

    Raises NotFound, Invalid for a range that is too long, ExportTooLarge, TooManyExports, ParquetFailed.
    """
    operator.require("invoices.view")
    asked.days.check()
    if tenant_id and not Tenant.objects.filter(pk=tenant_id).exists():
        raise NotFound
    months = asked.days.months()
    tenants = [tenant_id] if tenant_id else issued.tenants_billed(months[0], months[-1])
    with place():
        content = _in_form(asked, _spooled(asked, _of_each(asked.days, tenants)))
    record_act(operator, EXPORT_DOWNLOADED, target=("export", None, asked.filename))
    return content


def _of_each(days: Days, tenants: Sequence[UUID]) -> Generator[Charge, None, None]:
    for tenant_id in tenants:
        with tenant_scope(tenant_id):
            yield from charges(days, by_line=True)


def _spooled(asked: Asked, found: Generator[Charge, None, None]) -> IO[bytes]:
    found = details(found) if asked.version == INVOICE_DETAIL else found
    return spooled(found, PROFILES[asked.version], guarded=asked.form == "csv")


def _in_form(asked: Asked, table: IO[bytes]) -> IO[bytes]:
    return as_parquet(table, PROFILES[asked.version]) if asked.form == "parquet" else table
