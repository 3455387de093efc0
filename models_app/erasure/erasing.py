"""Erase the tenants whose erasure is ordered (control role, in the ops worker). Each step can be repeated after a crash.

The keys go last: until then everything before is done again. Usage, ledger, invoices, contracts and both chains stay.
"""

from __future__ import annotations

from itertools import islice
from typing import Any
from uuid import UUID

from django.db import connection

from compute.models import JobLog, JobMetric
from models_app.erasure import words
from models_app.models import Feedback, HealthWindow
from models_app.object_store import storage
from tenants.access.actor import Actor
from tenants.audit import AuditAction, forgetting, operation, record
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import tenant_scope
from tenants.isolation.sweeps import sweep
from tenants.models import AuditSubject, ExternalIdentity, FormerMember, Invitation, Membership, ScimUser, Tenant
from tenants.operators.platform_events import own_events

ERASED = AuditAction("tenants.erasure.finished")
FORMER: tuple[Any, ...] = (FormerMember, ScimUser, ExternalIdentity)
AT_ONCE, KEYS_AT_ONCE = 5, 500


def run() -> int:
    """Erase the tenants that wait for it, a few at once; return how many were finished. Raises SweepFailed if one stopped."""
    waiting = Tenant.objects.filter(erase_ordered_at__isnull=False, erased_at=None, standing="closed")
    done = 0
    with sweep("tenants to erase") as each:
        for tenant_id in each.over(waiting.order_by("erase_ordered_at").values_list("id", flat=True)):
            if done == AT_ONCE:
                break
            # The order of one that fails stays: the next run goes on where this one stopped.
            with each(tenant=tenant_id):
                _erase(tenant_id)
                done += 1
    return done


def _erase(tenant_id: UUID) -> None:
    objects = _remove_objects(tenant_id)
    with tenant_scope(tenant_id):
        for model in (JobLog, JobMetric, Feedback, HealthWindow):
            model.objects.all().delete()
        words.erase()
    people = _forget_people(tenant_id)
    with tenant_scope(tenant_id):
        _finish(actor=Actor.system(tenant_id, "erasure"), objects=objects, people=people)


def _remove_objects(tenant_id: UUID) -> int:
    removed = 0
    while keys := [one.key for one in islice(storage.listing(tenant_id), KEYS_AT_ONCE)]:
        storage.delete(tenant_id, keys)
        removed += len(keys)
    return removed


def _forget_people(tenant_id: UUID) -> int:
    """End each membership and forget its person, one transaction each; then those who left or were only invited."""
    forgotten = 0
    while True:
        with tenant_scope(tenant_id):
            row = Membership.objects.select_related("user").order_by("id").first()
            if row is None:
                break
            email = row.user.email
            row.delete()
            forgetting.forget(actor=Actor.system(tenant_id, "erasure"), email=email)
        forgotten += 1
    forgotten += _forget_former(tenant_id)
    with tenant_scope(tenant_id):
        invited = set(Invitation.objects.filter(email__contains="@").values_list("email", flat=True))
    for email in sorted(invited):
        with tenant_scope(tenant_id):
            forgetting.forget(actor=Actor.system(tenant_id, "erasure"), email=email)
        forgotten += 1
    return forgotten


def _forget_former(tenant_id: UUID) -> int:
    """Forget those who are no members any more, and those whom the identity provider alone knows."""
    forgotten = 0
    while True:
        with tenant_scope(tenant_id):
            known = (kind.objects.select_related("user").order_by("id").first() for kind in FORMER)
            row = next((one for one in known if one is not None), None)
            if row is None:
                return forgotten
            forgetting.forget(actor=Actor.system(tenant_id, "erasure"), email=row.user.email)
            for kind in FORMER:
                kind.objects.filter(user_id=row.user_id).delete()
        forgotten += 1


@operation(ERASED)
def _finish(*, actor: Actor, objects: int, people: int) -> None:
    gone = AuditSubject.objects.filter(erased_at=None).update(
        reference=None, data_key=None, wrapped=None, label=None, erased_at=DatabaseNow()
    )
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SELECT exchequer_destroy_data_keys(%s)", [actor.tenant_id])
        (keys,) = cursor.fetchone() or (0,)
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    tenant = Tenant.objects.get(id=actor.tenant_id)
    Tenant.objects.filter(id=tenant.id).update(erased_at=DatabaseNow())
    changes = {"objects": [objects, 0], "people": [people, 0], "subject_keys": [gone, 0], "data_keys": [keys, 0]}
    record(ERASED, actor=actor, target=tenant, changes=changes)
    own_events.erased(tenant.id)
