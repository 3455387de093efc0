"""What the launch form does with presets: it starts from one, and saves what was entered as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import messages

from billing.forms.fields import typed
from billing.rating.quantity import share_said
from compute import labels
from compute.jobs.jobs import Submission
from models_app.presets import presets
from tenants.errors import ExchequerError, Invalid
from tenants.web.requests import TenantRequest


def started(
    request: TenantRequest, preset_id: UUID | None, own: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    """Return the initial values of a launch form, `own` of them read from the preset's spec; empty where it has none.

    A preset that no launch would take today says why, and leaves the form empty.
    """
    if preset_id is None:
        return {}
    try:
        order = presets.resolved(request.actor, preset_id)
    except ExchequerError as refused:
        named = refused.fields if isinstance(refused, Invalid) else {}
        why = " ".join(text for texts in named.values() for text in texts) or refused.message
        messages.error(request, f"The preset no longer fits. {why}")
        return {}
    return {
        "name": order.name,
        "project": str(order.project_id),
        **own(order.spec),
        "device_class": order.device_class,
        "devices": order.devices,
        "share": share_said(order.share),
        "spread": not order.one_node,
        "node_labels": sorted(labels.as_set(order.node_labels)),
        "tier": order.tier,
        "max_minutes": max(1, order.asked_seconds // 60) if order.asked_seconds else None,
        "max_cost": typed(order.max_cost) if order.max_cost else None,
        "tags": order.tags,
    }


def save(request: TenantRequest, asked: Submission) -> None:
    """Save what was entered as a preset with the name of the job. Raises Invalid by the fields of a launch."""
    try:
        made = presets.create(
            actor=request.actor, project_id=asked.project_id, name=asked.name, launch=presets.body_of(asked)
        )
    except Invalid as refused:
        raise Invalid(fields={key.removeprefix("launch."): texts for key, texts in refused.fields.items()}) from None
    messages.success(request, f"{made.name} saved as a preset. Nothing was launched.")
