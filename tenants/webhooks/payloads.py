"""What is sent: JSON with ids and figures, or one line of text for Slack and programs like it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.conf import settings

from tenants.models import Tenant, WebhookFormat
from tenants.webhooks.catalogue import Fact, title_of

#: The largest body that is sent; the data of a larger one is left out.
MOST_BYTES = 65_536


@dataclass(frozen=True, kw_only=True)
class Heading:
    """What stands around a fact: its event, the tenant that it is about, its page with and without the host, its title."""

    event_id: UUID
    created: datetime
    tenant: dict[str, str] | None
    page: str
    url: str
    title: str


def body(fact: Fact, tenant: Tenant, event_id: UUID, created: datetime, shape: str) -> str:
    """Return the text of a body for a tenant's webhook in the format `shape`."""
    page = f"/t/{tenant.slug}/{fact.path}"
    heading = Heading(
        event_id=event_id,
        created=created,
        tenant={"id": str(tenant.id), "slug": tenant.slug},
        page=page,
        url=f"{settings.EXCHEQUER.effective_public_url}{page}",
        title=title_of(fact.type),
    )
    return written(fact, heading, shape)


def written(fact: Fact, heading: Heading, shape: str) -> str:
    """Return the text of a body in the format `shape`."""
    if shape == WebhookFormat.SLACK:
        return _text({"text": f"{_sentence(fact, heading.title)}\n{heading.url}"})
    said = {
        "id": f"evt_{heading.event_id.hex}",
        "type": fact.type,
        "created": heading.created.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "tenant": heading.tenant,
        "object": {"kind": fact.kind, "id": str(fact.id), "path": heading.page},
        "data": fact.data,
    }
    text = _text(said)
    return text if len(text.encode()) <= MOST_BYTES else _text(said | {"data": {}, "data_left_out": True})


def _sentence(fact: Fact, title: str) -> str:
    """Return the event in words, with the figures that fit a line."""
    figures = ", ".join(
        f"{name.replace('_', ' ')} {value}" for name, value in fact.data.items() if isinstance(value, str | int | float)
    )
    return title + (f": {figures}" if figures and len(figures) < 200 else "")


def _text(said: dict[str, Any]) -> str:
    return json.dumps(said, separators=(",", ":"), default=str)
