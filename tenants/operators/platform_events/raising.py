"""Raise a platform event, in the transaction of what happened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from tenants.ids import uuid7
from tenants.models import PlatformEvent
from tenants.operators.platform_events import catalogue


def raise_event(
    name: str,
    *,
    of: tuple[str, Any],
    path: str,
    once: Any = None,
    about: UUID | None = None,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Store an event of a registered type, unless its occurrence `once` is stored (control role, or the console).

    `of` is the object's kind and id, `path` its page in the console, as `fleet/`; `about` the tenant concerned. `data` holds a
    few states and figures: no names and no text of people.
    """
    if catalogue.find(name) is None:
        raise KeyError(f"{name!r} is no registered type of platform event")
    kind, object_id = of
    event = PlatformEvent(
        id=uuid7(), type=name, kind=kind, object=str(object_id), path=path, about=about, data=dict(data or {})
    )
    event.once = f"{name} {event.id if once is None else once}"[:200]
    PlatformEvent.objects.bulk_create([event], ignore_conflicts=True)
