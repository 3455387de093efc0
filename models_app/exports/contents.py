"""What an export holds: each table of tenants but those left out, without bytes, hashes and secrets; and what belongs to it.

The test of the contents fails for a new table, until it is exported or left out with a reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.apps import apps
from django.db.models import BinaryField, Model

APPS = ("tenants", "billing", "compute", "models_app")
#: Tables left out, and why.
LEFT_OUT = {
    "billing_invoicecomment": "notes of the operators",
    "billing_prepareddraft": "figures of the operators",
    "tenants_auditcheckpoint": "in audit.jsonl",
    "tenants_auditentry": "in audit.jsonl",
    "tenants_audithead": "in audit.jsonl",
    "tenants_auditsubject": "keys of people; their labels are in audit.jsonl",
    "tenants_datakey": "the keys of stored files",
    "tenants_idempotencykey": "stored answers, for thirty days",
    "tenants_loginattempt": "log-ins that go on",
    "tenants_outboxmessage": "events that wait for their delivery",
    "tenants_tenantdigest": "figures of the operators",
    "tenants_usedassertion": "log-ins that are over",
    "checkpoints": "of jobs that have not ended, from which they go on",
}
#: What an export without stored files leaves out beside.
FILES_LEFT_OUT = {"files": "ordered without stored files"}
#: Columns left out beside those of bytes, which are keys, hashes and sealed secrets.
SECRET = {"tenants_maildomain": {"token"}}


@dataclass(frozen=True)
class Part:
    """One file of JSON Lines: its name, and the statement with the parameter `tenant`."""

    name: str
    statement: str


#: What is the tenant's, or is needed to read it, and lies in a table of the platform.
SHARED = (
    Part("tenant", "SELECT * FROM tenants_tenant WHERE id = %(tenant)s"),
    Part(
        "people",
        "SELECT u.id, u.email, u.name, m.created_at AS member_since FROM tenants_user u "
        "JOIN tenants_membership m ON m.user_id = u.id WHERE m.tenant_id = %(tenant)s ORDER BY u.id",
    ),
    Part(
        "price_versions",
        "SELECT * FROM billing_priceversion WHERE book_id IN "
        "(SELECT book_id FROM billing_contract WHERE tenant_id = %(tenant)s) ORDER BY id",
    ),
    Part(
        "prices",
        "SELECT p.* FROM billing_price p JOIN billing_priceversion v ON v.id = p.version_id WHERE v.book_id IN "
        "(SELECT book_id FROM billing_contract WHERE tenant_id = %(tenant)s) ORDER BY p.id",
    ),
)


def tenant_tables() -> Iterator[type[Model]]:
    """Yield the model of each table with a tenant."""
    for app in APPS:
        for model in apps.get_app_config(app).get_models():
            if any(field.column == "tenant_id" for field in model._meta.local_fields):
                yield model


def columns(model: type[Model]) -> list[str]:
    """Return the exported columns of a table."""
    secret = SECRET.get(model._meta.db_table, set())
    return [
        field.column
        for field in model._meta.local_fields
        if field.column and not isinstance(field, BinaryField) and field.column not in secret
    ]


def parts() -> list[Part]:
    """Return the files of an export but the audit log, in a stable order."""
    own = [
        Part(
            model._meta.db_table,
            f"SELECT {_named(columns(model))} FROM {model._meta.db_table} "  # noqa: S608 (names of our own tables)
            f"WHERE tenant_id = %(tenant)s ORDER BY {_named(field.column for field in model._meta.pk_fields)}",
        )
        for model in tenant_tables()
        if model._meta.db_table not in LEFT_OUT
    ]
    return [*SHARED, *sorted(own, key=lambda part: part.name)]


def _named(columns: Iterable[str | None]) -> str:
    return ", ".join(f'"{column}"' for column in columns if column)
