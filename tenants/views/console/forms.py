"""Forms of the console. A form only parses; operations decide."""

from __future__ import annotations

import zoneinfo

from django import forms


def _zones() -> list[tuple[str, str]]:
    return [(name, name) for name in sorted(zoneinfo.available_timezones())]


class NewTenant(forms.Form):
    """A tenant to create."""

    name = forms.CharField(label="Name", max_length=120)
    slug = forms.CharField(
        label="Short name",
        max_length=50,
        help_text="Part of its addresses: small letters, digits and dashes. It stays.",
    )
    owner_email = forms.EmailField(label="Owner", max_length=254, help_text="Gets an invitation by mail.")
    currency = forms.CharField(label="Currency", max_length=3, initial="EUR", help_text="ISO 4217; it stays.")
    timezone = forms.ChoiceField(label="Time zone", initial="UTC", choices=_zones)
