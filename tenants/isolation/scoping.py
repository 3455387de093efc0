"""The first mechanism of tenant isolation: a manager that raises if no tenant scope is open.

The second is row-level security (`tenants.isolation.rls`), which reads the setting that a scope makes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar
from uuid import UUID

from django.db import connection, models, transaction

from tenants.ids import uuid7

_tenant: ContextVar[UUID | None] = ContextVar("tenant", default=None)
_all_tenants: ContextVar[str] = ContextVar("all_tenants", default="")

_put_off: ContextVar[list[Deferred]] = ContextVar("put_off")
_kept: ContextVar[dict[str, Any]] = ContextVar("kept")

M = TypeVar("M", bound="TenantModel")
T = TypeVar("T")


class NoTenantScope(RuntimeError):
    """A tenant table was accessed with no tenant scope open."""


class ForeignTenant(RuntimeError):
    """A row of another tenant was to be written, or a scope of another tenant opened inside a scope."""


def current_tenant_id() -> UUID:
    """Return the tenant of the open scope; raise `NoTenantScope` without one."""
    tenant_id = _tenant.get()
    if tenant_id is None:
        raise NoTenantScope("Open tenant_scope(tenant_id) before touching a tenant's rows.")
    return tenant_id


def scope_open() -> bool:
    """Return whether a tenant scope is open in this thread."""
    return _tenant.get() is not None


def kept_in_scope() -> dict[str, Any]:
    """Return what is read once in a scope, by name; it ends with the outermost open one. Only for what changes with no clock."""
    current_tenant_id()
    return _kept.get()


@contextmanager
def tenant_scope(tenant_id: UUID, *, savepoint: bool = True) -> Iterator[None]:
    """Open a transaction in which exactly this tenant's rows exist.

    A scope of the same tenant may be nested; one of another tenant raises `ForeignTenant`. The database setting is
    local to the transaction, so it never persists on a pooled connection. Work deferred by `before_commit` runs before
    the outermost scope ends. Without `savepoint`, an error inside a nested scope ends the outermost one, too.
    """
    outer = _tenant.get()
    if outer is not None:
        if outer != tenant_id:
            raise ForeignTenant("Another tenant's scope is open.")
        with transaction.atomic(savepoint=savepoint):
            yield
        return
    nested = connection.in_atomic_block
    with transaction.atomic():
        set_tenant(tenant_id)
        with _opened(tenant_id, nested=nested):
            yield


def scoped_pages(tenant_id: UUID, pages: Iterator[T]) -> Iterator[T]:
    """Yield what `pages` yields, each read in a scope that has ended before it is used: a slow reader holds no transaction."""
    while True:
        with tenant_scope(tenant_id):
            page = next(pages, None)
        if page is None:
            return
        yield page


@contextmanager
def snapshot_scope(tenant_id: UUID) -> Iterator[None]:
    """Open a tenant's scope that reads everything as of its first statement and writes nothing. Never inside a transaction.

    Only changes of the schema wait for it. While it is open, dead rows of all tables are kept: copy what it shows to a
    local file, and do what takes long afterwards.
    """
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        with tenant_scope(tenant_id):
            yield


@contextmanager
def entered_scope(enter: Callable[[], T | None], tenant_id: Callable[[T], UUID]) -> Iterator[T | None]:
    """Open a transaction and the scope of the tenant that `enter` finds; yields what it found, or None without a scope.

    `enter` runs the one statement that finds out who asks, and that sets the tenant for the policies. Never inside
    another scope.
    """
    if scope_open():
        raise ForeignTenant("A scope is open already.")
    nested = connection.in_atomic_block
    with transaction.atomic():
        found = enter()
        if found is None:
            yield None
            return
        with _opened(tenant_id(found), nested=nested):
            yield found


@contextmanager
def _opened(tenant_id: UUID, *, nested: bool) -> Iterator[None]:
    """Keep the scope of the tenant that is set, and do what was put off before it ends.

    `nested`: the transaction goes on afterwards, and the setting with it.
    """
    token, put_off, kept = _tenant.set(tenant_id), _put_off.set([]), _kept.set({})
    try:
        yield
        if not connection.needs_rollback:  # a rollback discards the work itself
            _do_put_off()
            if nested:
                set_tenant(None)
    finally:
        _tenant.reset(token)
        _put_off.reset(put_off)
        _kept.reset(kept)


def before_commit(work: Callable[[list[T]], None], item: T) -> Deferred:
    """Run `work` once, with all collected items in order, just before the outermost scope commits.

    For locks shared by all operations of a tenant: a transaction that takes one and then waits for another row could
    deadlock with one that does the reverse. An item is dropped if its savepoint is rolled back.
    """
    current_tenant_id()
    put_off = Deferred(work, item)
    transaction.on_commit(put_off)
    _put_off.get().append(put_off)
    return put_off


@dataclass(frozen=True, eq=False)
class Deferred:
    """A deferred item. Django keeps it among the transaction's callbacks, and drops it with its savepoint."""

    work: Callable[[list[Any]], None]
    item: Any

    def __call__(self) -> None:
        """Do nothing at commit: the work has run before."""

    @property
    def kept(self) -> bool:
        """Return whether its savepoint still exists."""
        return any(entry[1] is self for entry in reversed(connection.run_on_commit))


def _do_put_off() -> None:
    if not _put_off.get():
        return
    kept = {id(entry[1]) for entry in connection.run_on_commit}
    due: dict[Callable[[list[Any]], None], list[Any]] = {}
    for put_off in _put_off.get():
        if id(put_off) in kept:
            due.setdefault(put_off.work, []).append(put_off.item)
    for work, items in due.items():
        work(items)


def set_tenant(tenant_id: UUID | None) -> None:
    """Set the transaction-local tenant for the policies."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('app.tenant', %s, true)", [str(tenant_id or "")])


@contextmanager
def all_tenants(reason: str) -> Iterator[None]:
    """Let managers return every row that the database role may see.

    Only the control role's policies show more than one tenant; for any other role this returns nothing. `reason`
    documents at the call why the scope of one tenant does not suffice.
    """
    if not reason:
        raise ValueError("Say why every tenant's rows are needed.")
    token = _all_tenants.set(reason)
    try:
        yield
    finally:
        _all_tenants.reset(token)


class TenantQuerySet(models.QuerySet[M], Generic[M]):
    """A query set that refuses to move rows between tenants."""

    def bulk_create(self, objs: Iterable[M], *args: Any, **kwargs: Any) -> list[M]:
        """Create rows after the same check as `save`."""
        rows = list(objs)
        for row in rows:
            row.claim_tenant()
        return super().bulk_create(rows, *args, **kwargs)

    def update(self, **kwargs: Any) -> int:
        """Update rows; the tenant of a row never changes."""
        if "tenant" in kwargs or "tenant_id" in kwargs:
            raise ForeignTenant("A row never changes its tenant.")
        return super().update(**kwargs)


class TenantManager(models.Manager[M], Generic[M]):
    """Yields only rows of the open scope; raises `NoTenantScope` without one."""

    def get_queryset(self) -> TenantQuerySet[M]:
        """Return the rows of the open scope."""
        rows: TenantQuerySet[M] = TenantQuerySet(self.model, using=self._db)
        if _all_tenants.get():
            return rows
        return rows.filter(tenant_id=current_tenant_id())


class TenantModel(models.Model):
    """A row that belongs to one tenant. Its migration must name it in `SecureTable`."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.PROTECT, related_name="+", editable=False)

    objects: ClassVar[TenantManager[Self]] = TenantManager()

    class Meta:
        abstract = True
        base_manager_name = "objects"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save in the open scope's tenant; raise `ForeignTenant` for a row of another one."""
        self.claim_tenant()
        super().save(*args, **kwargs)

    def claim_tenant(self) -> None:
        """Give the row the open scope's tenant, or check that it has it."""
        own: UUID | None = self.tenant_id
        if _all_tenants.get() and own is not None:
            return
        if own is None:
            self.tenant_id = current_tenant_id()
        elif own != current_tenant_id():
            raise ForeignTenant("This row belongs to another tenant.")


class TenantForeignKey(models.ForeignKey):  # type: ignore[type-arg]
    """A foreign key between tables of one tenant.

    The database checks it with the tenant: `SecureTable` adds the composite key (tenant_id, x_id).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["db_constraint"] = False
        super().__init__(*args, **kwargs)
