"""The pages of webhooks, as both sides show them: the list with the form of a new one, and one with its deliveries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from tenants.models import DeliveryState
from tenants.views.webhooks.deliveries import shown as shown_delivery
from tenants.views.webhooks.forms import ChangeWebhook, DeliveryFilter, WebhookForm
from tenants.web.pagination import before, paged
from tenants.webhooks.queries import Reads

PAGE = 25


@dataclass(frozen=True, kw_only=True)
class Side:
    """Where the pages of an organisation's webhooks differ from those of the operators'.

    Names of routes begin with `routes` and take `args` first; `create` is the route that a new webhook is posted to.
    """

    frame: str
    whose: str
    routes: str
    create: str
    args: tuple[str, ...]
    reads: Reads
    title_of: Callable[[str], str]
    change_form: type[ChangeWebhook]
    most: int
    more_acts: tuple[str, ...] = ()

    def url(self, route: str, *ids: UUID) -> str:
        """Return the address of a page or an act."""
        return reverse(f"{self.routes}{route}", args=(*self.args, *ids))


def webhooks_page(request: HttpRequest, side: Side, form: WebhookForm, *, status: int = 200) -> HttpResponse:
    """Show the list."""
    rows = side.reads.webhooks()
    context: dict[str, Any] = {
        "frame": side.frame,
        "whose": side.whose,
        "webhooks": [(row, side.url("webhook", row.id)) for row in rows],
        "form": form,
        "create_url": side.url(side.create),
        "most": side.most,
        "room": len(rows) < side.most,
    }
    return render(request, "tenants/webhooks/list.html", context, status=status)


def webhook_page(
    request: HttpRequest,
    side: Side,
    webhook_id: UUID,
    *,
    form: ChangeWebhook | None = None,
    status: int = 200,
    **shown_once: str,
) -> HttpResponse:
    """Show one webhook; `secret`, if it is new, and `address`, if it was revealed, on this response alone."""
    row = side.reads.webhook(webhook_id)
    chosen = DeliveryFilter(request.GET)
    state = chosen.cleaned_data["state"] if chosen.is_valid() else ""
    rows = side.reads.deliveries(webhook_id, state=state, before=before(request, UUID), limit=PAGE)
    shown, links = paged(request, rows, PAGE, lambda one: (one.id,))
    given = {name: getattr(row, name) for name in ("name", "format", "types", "enabled")}
    acts = ("change", "rotate", "test", "delete", *side.more_acts)
    context: dict[str, Any] = {
        "frame": side.frame,
        "whose": side.whose,
        "webhook": row,
        "urls": {"all": side.url("webhooks"), **{act: side.url(f"webhook-{act}", row.id) for act in acts}},
        "deliveries": [
            shown_delivery(one, side.title_of(one.type), side.url("webhook-replay", row.id, one.id)) for one in shown
        ],
        "pending": DeliveryState.PENDING,
        "chosen": chosen,
        "filtered": bool(state),
        "form": form or side.change_form(initial=given),
        **shown_once,
        **links,
    }
    return render(request, "tenants/webhooks/webhook.html", context, status=status)
