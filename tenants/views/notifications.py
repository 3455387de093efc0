"""Notifications, newest first; opening one marks it as read."""

from typing import cast
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from tenants.notifications import notifications, topics
from tenants.web.navigation import home_url
from tenants.web.pagination import before, paged
from tenants.web.requests import TenantRequest
from tenants.web.views import page
from tenants.webhooks import publishing
from tenants.webhooks.own_events import MEMBER_NOTIFIED

PAGE = 50


@require_safe
@page("tenant.view")
def notifications_page(request: TenantRequest) -> HttpResponse:
    """List one's own notifications; `?show=unread` hides read ones."""
    user_id = cast(UUID, request.user.pk)
    only_unread = request.GET.get("show") == "unread"
    rows = notifications.notifications(user_id, only_unread=only_unread, before=before(request, UUID), limit=PAGE)
    shown, links = paged(request, rows, PAGE, lambda row: (row.id,))
    context = {"notifications": shown, "only_unread": only_unread, **links}
    return render(request, "tenants/notifications.html", context)


@require_POST
@page("tenant.view")
def notification_open(request: TenantRequest, notification_id: UUID) -> HttpResponse:
    """Mark one as read and redirect to its page; with `stay`, stay on the list."""
    row = notifications.mark_read(request.actor, notification_id)
    slug = request.tenant.slug
    if row.path and not request.POST.get("stay"):
        return redirect(f"{home_url(slug)}{row.path}")
    return redirect("notifications", slug)


@require_POST
@page("tenant.view")
def notifications_read(request: TenantRequest) -> HttpResponse:
    """Mark all as read."""
    if notifications.mark_all_read(request.actor):
        messages.success(request, "All notifications are marked as read.")
    return redirect("notifications", request.tenant.slug)


@require_http_methods(["GET", "HEAD", "POST"])
@page("tenant.view")
def notification_choices(request: TenantRequest) -> HttpResponse:
    """Choose for each topic whether one is notified in the bell, by email, by webhook, or not at all."""
    user_id = cast(UUID, request.user.pk)
    if request.method == "POST":
        given = {
            one.key: topics.Ways(*(f"{one.key}:{way}" in request.POST for way in topics.WAYS))
            for one in topics.topics()
        }
        topics.choose(request.actor, given)
        messages.success(request, "Saved. It applies to new notifications.")
        return redirect("notification-choices", request.tenant.slug)
    chosen = topics.chosen(user_id)
    rows = [{"topic": one, "ways": chosen[one.key]} for one in topics.topics()]
    context = {
        "rows": rows,
        "can_webhooks": request.actor.can("webhooks.manage"),
        "none_receives": not publishing.receivers(MEMBER_NOTIFIED).exists(),
    }
    return render(request, "tenants/notification_choices.html", context)
