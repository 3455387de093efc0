"""Forms of the platform's webhooks: those of tenants' webhooks, with the types of platform events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
    """The same, and whether it receives events. The console cannot show the address: it stays unless given."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["url"].required = False
        self.fields["url"].help_text = "Empty: it stays. It is encrypted, and this console cannot show it."

    def fields_given(self) -> dict[str, Any]:
        """Return the arguments of the operation."""
        given = super().fields_given()
        return given if given["url"] else {name: value for name, value in given.items() if name != "url"}
