"""Proven domains are read again: owners are notified when a record is gone, and a domain without one lapses."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q

from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record
from tenants.clock import DatabaseNow, now
from tenants.identity.providers import domains
from tenants.isolation.scoping import all_tenants, tenant_scope
from tenants.models import MailDomain
from tenants.notifications import notifications

RECORD_GONE = AuditAction("tenants.mail_domain.record_gone")
RECORD_BACK = AuditAction("tenants.mail_domain.record_back")
DOMAIN_LAPSED = AuditAction("tenants.mail_domain.lapsed")
#: Kind of the notifications about a record that is gone.
DOMAIN_KIND, PAGE = "mail_domain", "identity-provider/"
#: How often a proven domain is read again, and what one run reads at most.
READ_EACH = timedelta(days=1)
MOST_READ, MOST_READ_S = 200, 60.0


def read_again() -> int:
    """Read the records of proven domains that were not read for a day (control role); return how many.

    Bounded: what is left is read by the next run. A name server that does not answer changes nothing.
    """
    started, read = time.monotonic(), 0
    due = Q(read_at=None) | Q(read_at__lt=DatabaseNow() - READ_EACH)
    with transaction.atomic(), all_tenants("the sweep serves every tenant"):
        rows = MailDomain.objects.filter(due, verified_at__isnull=False)
        found = list(rows.order_by(F("read_at").asc(nulls_first=True))[:MOST_READ])
    for one in found:
        if time.monotonic() - started > MOST_READ_S:
            break
        with tenant_scope(one.tenant_id):  # first, so that one that hangs is not read again and again
            MailDomain.objects.filter(id=one.id).update(read_at=DatabaseNow())
        try:
            records = domains.txt_records(domains.row_of(one).record_name)
        except domains.DnsUnavailable:
            continue
        _noted(Actor.system(one.tenant_id, "domains"), one.id, records)
        read += 1
    return read


def _noted(actor: Actor, domain_id: UUID, records: Iterable[str]) -> None:
    """Note whether the record of a proven domain is there; after seven days without it the domain is not proven."""
    with tenant_scope(actor.tenant_id):
        row = MailDomain.objects.filter(id=domain_id, verified_at__isnull=False).first()
        if row is None:
            return
        there = domains.row_of(row).record_text in {text.strip() for text in records}
        if there and row.missing_since is not None:
            _record_back(actor=actor, row=row)
        elif not there and row.missing_since is None:
            _record_gone(actor=actor, row=row)
        elif not there and row.missing_since is not None and row.missing_since + domains.GONE_FOR <= now():
            _lapse(actor=actor, row=row)


@operation(RECORD_GONE)
def _record_gone(*, actor: Actor, row: MailDomain) -> None:
    row.missing_since = now()
    row.save(update_fields=["missing_since"])
    record(RECORD_GONE, actor=actor, target=("mail_domain", row.id, row.name))
    _tell(
        f"The TXT record of {row.name} is gone",
        f"Put it back by {row.missing_since + domains.GONE_FOR:%d %B %Y}: {domains.row_of(row).record_name} with the text "
        f"{domains.row_of(row).record_text}. Otherwise the domain is no longer verified: your identity provider then names nobody "
        "new with its addresses.",
    )


@operation(RECORD_BACK)
def _record_back(*, actor: Actor, row: MailDomain) -> None:
    row.missing_since = None
    row.save(update_fields=["missing_since"])
    record(RECORD_BACK, actor=actor, target=("mail_domain", row.id, row.name))
    notifications.settle(kind=DOMAIN_KIND, path=PAGE)


@operation(DOMAIN_LAPSED)
def _lapse(*, actor: Actor, row: MailDomain) -> None:
    row.verified_at, row.missing_since = None, None
    row.save(update_fields=["verified_at", "missing_since"])
    record(DOMAIN_LAPSED, actor=actor, target=("mail_domain", row.id, row.name))
    _tell(
        f"{row.name} is no longer verified",
        "Its TXT record has been gone for seven days. The identity provider names nobody new with its addresses; members "
        "stay, and who had to come in by the provider may use a password. Put the record back and verify the domain.",
    )


def _tell(title: str, body: str) -> None:
    notifications.notify(permission="identity.manage", kind=DOMAIN_KIND, title=title, body=body, path=PAGE)
