"""A person's address and name in the rows of one tenant: what only describes them goes, other rows name nobody any more.

Every text column of every tenant's table is searched, so that a new one is not forgotten. Tables that keep what they hold are registered (`keep`).
"""

from __future__ import annotations

import json
import re
from functools import reduce
from operator import or_
from typing import Any
from uuid import UUID

from django.apps import apps
from django.contrib.postgres.fields import ArrayField
from django.db import connection, models
from django.db.models import Case, F, Q, Value, When

from tenants.audit.subjects import ERASED
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantModel, current_tenant_id
from tenants.models import (
    ExternalIdentity,
    Invitation,
    Membership,
    Notification,
    NotificationChoice,
    OperatorIdempotencyKey,
    ScimUser,
    Session,
    User,
)

#: Tables of tenants that keep what they hold: hashed and signed entries, looks of operators, and the settings of the identity provider; upper
#: apps add theirs.
_kept = {
    "tenants_auditcheckpoint",
    "tenants_auditentry",
    "tenants_breakglass",
    "tenants_externalgroup",
    "tenants_identityprovider",
    "tenants_maildomain",
}
#: Tables of which some texts only may change.
_parts: dict[str, frozenset[str]] = {}
#: Which rows of a table name operators, who are none of the tenant's people; upper layers add theirs.
_of_operators: dict[str, Q] = {"tenants_quotaceiling": Q(pk__isnull=False)}
#: The label of whatever operators did to a tenant. No person and no key is called this.
OPERATOR = "operator"
#: Rows that only describe a person; their access has ended.
ABOUT = (ExternalIdentity, ScimUser, Notification, NotificationChoice)
NONE = Q(pk__in=())
#: How columns end that say who did something.
LABELS = ("_label", "_by")
#: The address of an account that nobody has any more.
NOBODY = "erased.invalid"


def keep(*tables: str) -> None:
    """Register tables that keep what they hold; the page of retention names each, with the reason."""
    _kept.update(tables)


def change_only(table: str, *names: str) -> None:
    """Register which columns of a table may change."""
    _parts[table] = frozenset(names)


def of_operators(table: str, rows: Q) -> None:
    """Register rows whose labels name operators: they are kept when the tenant is erased."""
    _of_operators[table] = _of_operators[table] | rows if table in _of_operators else rows


def kept() -> frozenset[str]:
    """Return the tables that keep what they hold."""
    return frozenset(_kept)


def erase_rows(email: str, people: list[User]) -> int:
    """Remove a person's address and name from the open tenant's rows; return how many rows changed.

    An invitation that waits for them is revoked.
    """
    ids = [one.id for one in people]
    changed: int = sum(kind.objects.filter(user_id__in=ids).delete()[0] for kind in ABOUT)
    Invitation.objects.filter(email__iexact=email, accepted_at=None, revoked_at=None).update(revoked_at=DatabaseNow())
    # The console's first answers belong to no tenant; one that is gone is only no longer repeated.
    changed += OperatorIdempotencyKey.objects.filter(body__icontains=email).delete()[0]
    names = sorted({one.name for one in people if one.name})
    return changed + sum(_rewrite(model, email, names) for model in searched())


def erase_labels() -> None:
    """Write `ERASED` over every label of people, keys and processes in the open tenant's rows, if the tenant is erased.

    Labels of operators stay: the platform answers for what they did.
    """
    for table in searched():
        if not (names := labels(table)):
            continue
        stays = ["", ERASED, OPERATOR]
        sets = {name: Case(When(**{f"{name}__in": stays}, then=F(name)), default=Value(ERASED)) for name in names}
        named = reduce(or_, (~Q(**{f"{name}__in": stays}) for name in names))
        theirs = _of_operators.get(table._meta.db_table, NONE)
        table._default_manager.filter(named).exclude(theirs).update(**sets)


def close_account(user: User) -> bool:
    """Leave an account without name, address, password and sessions, unless it is a member somewhere; return whether."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM exchequer_memberships(%s))", [user.id])
        (member,) = cursor.fetchone() or (True,)
    if member or Membership.objects.filter(user_id=user.id).exists():
        return False
    user.email, user.name, user.is_active = f"{user.id}@{NOBODY}", "", False
    user.set_unusable_password()
    user.save(update_fields=["email", "name", "is_active", "password"])
    Session.objects.filter(user_id=user.id).delete()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM mfa_authenticator WHERE user_id = %s", [user.id])
        cursor.execute("DELETE FROM account_emailaddress WHERE user_id = %s", [user.id])
    return True


def searched() -> list[type[TenantModel]]:
    """Return the tables of tenants with columns of text."""
    kinds = [one for one in apps.get_models() if issubclass(one, TenantModel) and one._meta.db_table not in _kept]
    return [one for one in kinds if columns(one)]


def columns(model: type[TenantModel]) -> list[models.Field]:  # type: ignore[type-arg]
    """Return the columns of a table that may hold any text."""
    texts = (models.CharField, models.TextField, models.JSONField, ArrayField)
    found: list[models.Field] = [  # type: ignore[type-arg]
        one for one in model._meta.local_concrete_fields if isinstance(one, texts) and not one.choices
    ]
    part = _parts.get(model._meta.db_table)
    return found if part is None else [one for one in found if one.column in part]


def labels(model: type[TenantModel]) -> list[str]:
    """Return the columns of a table that say who did something: `*_label`, `*_by`, and the senders of usage."""
    found = [one for one in columns(model) if isinstance(one, models.CharField)]
    return [name for name in (str(one.column) for one in found) if name.endswith(LABELS) or name == "sender"]


def _rewrite(model: type[TenantModel], email: str, names: list[str]) -> int:
    """Write `ERASED` over an address in the texts of one table, and over names that are a whole value of JSON."""
    table, quoted = connection.ops.quote_name(model._meta.db_table), connection.ops.quote_name
    # No address within a longer one: ann@x.example is none of joann@x.example's.
    pattern = rf"(?<![\w.+-]){re.escape(email)}(?![\w-]|\.\w)"
    sets: list[str] = []
    given: list[Any] = []
    where: list[str] = []
    sought: list[Any] = []
    for field in columns(model):
        column = quoted(str(field.column))
        text = f"{column}::text"
        value = f"regexp_replace({text}, %s, %s, 'gi')"
        values: list[Any] = [pattern, ERASED]
        where.append(f"{text} ~* %s")
        sought.append(pattern)
        if isinstance(field, models.JSONField):
            for name in names:
                value = f"replace({value}, %s, %s)"
                values += [json.dumps(name, ensure_ascii=False), json.dumps(ERASED)]
                where.append(f"position(%s in {text}) > 0")
                sought.append(json.dumps(name, ensure_ascii=False))
        sets.append(f"{column} = ({value})::{field.db_type(connection)}")
        given += values
    tenant: UUID = current_tenant_id()
    found = f"tenant_id = %s AND ({' OR '.join(where)})"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table} WHERE {found}", [tenant, *sought])  # noqa: S608 (names of our own)
        (number,) = cursor.fetchone() or (0,)
        if number:
            cursor.execute(f"UPDATE {table} SET {', '.join(sets)} WHERE {found}", [*given, tenant, *sought])  # noqa: S608
    return int(number)
