"""Forms of the platform's webhooks: those of tenants' webhooks, with the types of platform events."""

from __future__ import annotations

from collections.abc import Sequence

from tenants.operators.platform_events import catalogue
from tenants.views.webhooks.forms import ChangeWebhook, WebhookForm


class _Offered:
    """Offers the types of platform events."""

    def offered(self) -> Sequence[tuple[str, str]]:
        """Return name and title of each type."""
        return [(one.name, one.title) for one in catalogue.types()]


class PlatformWebhookForm(_Offered, WebhookForm):
    """A platform webhook: where, what, and how."""


class ChangePlatformWebhook(_Offered, ChangeWebhook):
    """The same, and whether it receives events."""
