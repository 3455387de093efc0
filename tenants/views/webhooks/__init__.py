"""Pages of webhooks: the list, one with its deliveries, and what is done to it."""

from django.urls import URLPattern, path

from tenants.views.webhooks.pages import (
    webhook,
    webhook_change,
    webhook_create,
    webhook_delete,
    webhook_replay,
    webhook_reveal,
    webhook_rotate,
    webhook_test,
    webhooks_page,
)

__all__ = ["urlpatterns"]

urlpatterns: list[URLPattern] = [
    path("webhooks/", webhooks_page, name="webhooks"),
    path("webhooks/new/", webhook_create, name="webhook-create"),
    path("webhooks/<uuid:webhook_id>/", webhook, name="webhook"),
    path("webhooks/<uuid:webhook_id>/change/", webhook_change, name="webhook-change"),
    path("webhooks/<uuid:webhook_id>/address/", webhook_reveal, name="webhook-reveal"),
    path("webhooks/<uuid:webhook_id>/secret/", webhook_rotate, name="webhook-rotate"),
    path("webhooks/<uuid:webhook_id>/test/", webhook_test, name="webhook-test"),
    path("webhooks/<uuid:webhook_id>/delete/", webhook_delete, name="webhook-delete"),
    path("webhooks/<uuid:webhook_id>/deliveries/<uuid:delivery_id>/replay/", webhook_replay, name="webhook-replay"),
]
