"""Domains of email addresses: claimed, proven by a TXT record, removed. Addresses in a proven domain are the provider's to name."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction

from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import now
from tenants.errors import Conflict, Invalid, NotFound, Unavailable
from tenants.isolation import limits
from tenants.models import MailDomain

DOMAIN_ADDED = AuditAction("tenants.mail_domain.added")
DOMAIN_VERIFIED = AuditAction("tenants.mail_domain.verified")
DOMAIN_REMOVED = AuditAction("tenants.mail_domain.removed")
#: How long the record of a proven domain may be gone.
GONE_FOR = timedelta(days=7)
MOST, MOST_RECORDS, LIFETIME_S = 50, 100, 5.0
LONGEST = 253
NAME = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
#: Where the record lies, below the domain, and how its text begins.
LABEL, TEXT = "_exchequer", "exchequer-domain="


class DomainTaken(Conflict):
    """This domain is listed already."""

    code = "domain_listed"


class RecordMissing(Conflict):
    """The TXT record is not there yet. A new record may take an hour to be seen everywhere."""

    code = "txt_record_missing"


class DnsUnavailable(Unavailable):
    """The domain's name servers did not answer. Nothing was changed; try again shortly."""

    code = "dns_unavailable"


@dataclass(frozen=True, kw_only=True)
class DomainRow:
    """A claimed domain, with the TXT record that proves it."""

    id: UUID
    name: str
    record_name: str
    record_text: str
    verified_at: datetime | None
    missing_since: datetime | None
    created_at: datetime

    @property
    def lapses_at(self) -> datetime | None:
        """Return when the domain is no longer proven, unless its record comes back."""
        return None if self.missing_since is None else self.missing_since + GONE_FOR


def domains() -> list[DomainRow]:
    """Return the tenant's domains, by name."""
    return [row_of(one) for one in MailDomain.objects.order_by("name")]


def row_of(one: MailDomain) -> DomainRow:
    """Return a domain for display."""
    return DomainRow(
        id=one.id,
        name=one.name,
        record_name=f"{LABEL}.{one.name}",
        record_text=f"{TEXT}{one.token}",
        verified_at=one.verified_at,
        missing_since=one.missing_since,
        created_at=one.created_at,
    )


def find(domain_id: UUID) -> DomainRow:
    """Return one domain. Raises NotFound."""
    found = MailDomain.objects.filter(id=domain_id).first()
    if found is None:
        raise NotFound
    return row_of(found)


@operation(DOMAIN_ADDED)
def add(*, actor: Actor, name: str) -> MailDomain:
    """List a domain, with a token to prove it by. Raises Invalid, DomainTaken."""
    actor.require("identity.manage")
    name = name.strip().lower().rstrip(".")
    if len(name) > LONGEST or not NAME.fullmatch(name):
        raise Invalid(
            fields={"name": ["Use a domain, such as example.org; write an international one in its xn-- form."]}
        )
    if limits.is_full(MailDomain.objects.all(), MOST):
        raise Invalid(fields={"name": [f"List at most {MOST} domains."]})
    try:
        with transaction.atomic():
            row = MailDomain.objects.create(name=name, token=secrets.token_hex(20))
    except IntegrityError as taken:
        raise DomainTaken from taken
    record(DOMAIN_ADDED, actor=actor, target=("mail_domain", row.id, name))
    return row


@operation(DOMAIN_VERIFIED)
def prove(*, actor: Actor, domain_id: UUID, records: Iterable[str]) -> None:
    """Accept the proof of a domain: the texts of its TXT records, as just read. Raises NotFound, RecordMissing."""
    actor.require("identity.manage")
    row = MailDomain.objects.select_for_update(no_key=True).filter(id=domain_id).first()
    if row is None:
        raise NotFound
    if row.verified_at is not None and row.missing_since is None:
        unchanged("it is proven already")
        return
    if row_of(row).record_text not in {text.strip() for text in records}:
        raise RecordMissing
    row.verified_at, row.read_at, row.missing_since = now(), now(), None
    row.save(update_fields=["verified_at", "read_at", "missing_since"])
    record(DOMAIN_VERIFIED, actor=actor, target=("mail_domain", row.id, row.name))


@operation(DOMAIN_REMOVED)
def remove(*, actor: Actor, domain_id: UUID) -> None:
    """Remove a domain: the provider names nobody new with its addresses; members stay. Raises NotFound."""
    actor.require("identity.manage")
    row = MailDomain.objects.filter(id=domain_id).first()
    if row is None:
        raise NotFound
    MailDomain.objects.filter(id=row.id).delete()
    record(DOMAIN_REMOVED, actor=actor, target=("mail_domain", row.id, row.name))


def txt_records(name: str) -> list[str]:
    """Return the texts of a name's TXT records, empty without one. Never in a transaction. Raises DnsUnavailable."""
    # The resolver's library takes 13 MiB, and is used by hand, a few times in an organisation's life.
    import dns.exception
    import dns.resolver

    try:
        answer = _resolver().resolve(f"{name}.", "TXT", search=False, lifetime=LIFETIME_S)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    except dns.exception.DNSException as error:
        raise DnsUnavailable from error
    return [b"".join(one.strings).decode("ascii", "replace") for one in list(answer)[:MOST_RECORDS]]


def _resolver() -> Any:
    import dns.resolver

    given = settings.EXCHEQUER.dns_server
    if not given:
        return dns.resolver.Resolver()
    host, _, port = given.rpartition(":")
    found = dns.resolver.Resolver(configure=False)
    found.nameservers, found.port = [host], int(port)
    return found
