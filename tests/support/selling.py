"""Prices of tests: contracts as the ops worker opens them, versions as operators publish them, each with its role."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection
from django.test import Client

from billing import provisioning
from billing.exchange import table as exchange_rates
from billing.exchange.table import NewExchangeRate
from billing.metering import meters
from billing.models import Contract, PriceBook, PriceVersion
from billing.pricing import prepaid, publishing
from billing.rating.calendar import local_day, period_of
from billing.rating.new_price import NewPrice
from tenants import clock
from tenants.isolation import scoping
from tenants.isolation.scoping import current_tenant_id, tenant_scope
from tenants.models import Tenant
from tenants.operators.operator import Operator

__all__ = ["SELLER", "Console", "NewPrice", "enter_rate", "open_contract", "provision_defaults", "publish", "role"]
#: An operator who writes prices.
SELLER = Operator(id=UUID(int=7), label="prices@platform.example", roles=("platform_finance",))


@contextmanager
def role(name: str) -> Iterator[None]:
    """Use a role of the product, then the one of before."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        (before,) = cursor.fetchone()
        cursor.execute(f"SET ROLE {name}")
    try:
        yield
    finally:
        # In a broken transaction the rollback resets the role.
        if not connection.needs_rollback:
            with connection.cursor() as cursor:
                cursor.execute(f"SET ROLE {before}")


@contextmanager
def as_control() -> Iterator[None]:
    """Use the control role: by SET ROLE, or by another login where this one is the product's own and may not."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_has_role(session_user, 'exchequer_control', 'SET')")
        (may,) = cursor.fetchone()
    if may:
        with role("exchequer_control"):
            yield
        return
    kept = dict(connection.settings_dict)
    other = {"USER": "postgres", "PASSWORD": "", "OPTIONS": {**kept["OPTIONS"], "options": "-c role=exchequer_control"}}
    connection.close()
    connection.settings_dict.update(other)
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update({name: kept[name] for name in other})


@contextmanager
def _outside_any_scope() -> Iterator[None]:
    """Leave the scope that a test has open: the console is another process, and publishes in no tenant's scope."""
    token = scoping._tenant.set(None)
    try:
        yield
    finally:
        scoping._tenant.reset(token)


def open_contract(tenant: Tenant, *, book: PriceBook | None = None, **terms: Any) -> None:
    """Open a tenant's first contract with a book, by default the standard one, and these terms; leave no entry in its log."""
    with as_control(), tenant_scope(tenant.id):
        meters.provide()
        book = book or publishing.standard_book(tenant.currency)
        starts_on = period_of(local_day(clock.now(), tenant.timezone))
        made = Contract.objects.create(
            book=book, currency=tenant.currency, starts_on=starts_on, agreed_by="tests", **terms
        )
        prepaid.count_if_prepaid(made)


def provision_defaults(tenant_id: UUID | None = None) -> None:
    """Give a tenant, by default that of the open scope, its meters and a contract with the standard book."""
    tenant_id = tenant_id or current_tenant_id()
    with tenant_scope(tenant_id), role("exchequer_control"):
        provisioning.provision_defaults(tenant_id)


def publish(
    *,
    prices: Sequence[NewPrice],
    book_id: UUID | None = None,
    effective_at: datetime | None = None,
    note: str = "a reason",
) -> PriceVersion:
    """Publish the next version of a book, by default that of the open scope's tenant, as an operator."""
    book = book_id or PriceBook.objects.get(contracts__tenant=current_tenant_id()).pk
    with role("exchequer_operator"), _outside_any_scope():
        return publishing.publish(operator=SELLER, book_id=book, prices=prices, effective_at=effective_at, reason=note)


def enter_rate(rate: str, valid_from: datetime | None = None, pair: str = "USD EUR") -> UUID:
    """Enter an exchange rate as an operator; return its id."""
    source, _, target = pair.partition(" ")
    new = NewExchangeRate(source=source, target=target, rate=Decimal(rate), origin="ECB", valid_from=valid_from)
    with role("exchequer_operator"), _outside_any_scope():
        return exchange_rates.enter(operator=SELLER, new=new, reason="as published").pk


class Console:
    """A browser at the operators' console: each request in its settings and with its role."""

    def __init__(self, enter: Callable[[], AbstractContextManager[None]]) -> None:
        self._enter, self._client = enter, Client()

    def log_in(self, email: str, password: str) -> None:
        """Log in; an operator without a second factor needs the settings of a demo."""
        assert self.post("/accounts/login/", {"login": email, "password": password}).status_code == 302

    def prove(self, password: str) -> Any:
        """Enter the password again, as the console asks before what nothing undoes."""
        return self.post("/accounts/reauthenticate/", {"password": password})

    def get(self, path: str, **more: Any) -> Any:
        """Get a page."""
        with self._enter():
            return self._client.get(path, **more)

    def put(self, path: str, data: Mapping[str, Any], **more: Any) -> Any:
        """Put a body."""
        with self._enter():
            return self._client.put(path, data, **more)

    def post(self, path: str, data: Mapping[str, Any] | None = None, **more: Any) -> Any:
        """Post a form."""
        with self._enter():
            return self._client.post(path, data or {}, **more)
