"""A form that is sent twice acts once: the hidden key of the form is claimed in the transaction of its effect."""

import hashlib
from collections.abc import Callable
from uuid import UUID

from tenants.access.actor import Actor
from tenants.models import IdempotencyKey


def once(actor: Actor, key: UUID | None, act: Callable[[], str]) -> str:
    """Return what `act` answered (a place to go to) the first time this key was used; call it only then.

    A twin that arrives meanwhile waits for the first to commit. What `act` raises leaves the key unused.
    """
    if key is None or actor.id is None:
        return act()
    text = f"form:{key}"
    digest = hashlib.sha256(text.encode()).digest()
    fresh = IdempotencyKey(tenant_id=actor.tenant_id, actor_id=actor.id, key=text, request_hash=digest)
    IdempotencyKey.objects.bulk_create([fresh], ignore_conflicts=True)
    row = IdempotencyKey.objects.select_for_update(no_key=True).get(actor_id=actor.id, key=text)
    if row.body is not None:
        return str(row.body["location"])
    location = act()
    IdempotencyKey.objects.filter(id=row.id).update(status=302, body={"location": location})
    return location
