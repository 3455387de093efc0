"""Forms of the identity provider's pages. A form only parses; operations decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID, uuid4

from django import forms

from tenants.access.permissions import ROLE_WORDS
from tenants.identity.providers.configuration import Wanted
from tenants.identity.providers.queries import ProviderRow
from tenants.models import GIVEN_ROLES, OIDC, PROVIDER_KINDS

TOKEN_LIVES = ((90, "90 days"), (365, "One year"), (0, "Until revoked"))
ROLES = [(role, f"{role.capitalize()}: {ROLE_WORDS[role]}") for role in GIVEN_ROLES]
MOST_METADATA = 512 * 1024


class Provider(forms.Form):
    """The organisation's identity provider. A SAML provider's metadata fills issuer, address and certificates."""

    kind = forms.ChoiceField(label="Protocol", choices=PROVIDER_KINDS)
    name = forms.CharField(label="Name", max_length=60, help_text="Shown in the audit log, such as Okta.")
    issuer = forms.CharField(
        label="Issuer or entity ID",
        max_length=500,
        required=False,
        help_text="OpenID: the https address that its discovery document names.",
    )
    client_id = forms.CharField(label="Client ID", max_length=200, required=False, help_text="OpenID only.")
    client_secret = forms.CharField(
        label="Client secret",
        max_length=500,
        required=False,
        strip=True,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text="OpenID only. Stored encrypted and never shown. Empty: keep the one that is stored.",
    )
    sign_in_url = forms.CharField(label="Log-in address", max_length=500, required=False, help_text="SAML only.")
    certificates = forms.CharField(
        label="Signing certificates",
        required=False,
        max_length=60_000,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        help_text="SAML only. PEM, up to five, one below the other.",
    )
    metadata = forms.CharField(
        label="Or paste its metadata",
        required=False,
        max_length=MOST_METADATA,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text="SAML only. Fills entity ID, log-in address and certificates.",
    )
    default_role = forms.ChoiceField(label="Role of new members", choices=ROLES, initial="viewer")
    highest_role = forms.ChoiceField(
        label="Highest role of its groups",
        choices=ROLES,
        initial="viewer",
        help_text="The provider adds nobody to a group that has more.",
    )
    groups_claim = forms.CharField(
        label="Claim with groups",
        max_length=120,
        required=False,
        help_text="Such as groups. Mapped groups then follow the provider at each log-in.",
    )
    just_in_time = forms.BooleanField(
        label="Make people members at their first log-in",
        required=False,
        help_text="Only with an address in a verified domain. Somebody whom you removed is not let in again.",
    )
    trusts_email = forms.BooleanField(
        label="Trust addresses that the provider does not call verified",
        required=False,
        help_text="OpenID only, for providers without email_verified, such as Entra ID. Verified domains only.",
    )
    enabled = forms.BooleanField(label="Let people log in by it", required=False, initial=True)

    def __init__(self, data: Any = None, *, known: ProviderRow | None = None) -> None:
        initial: dict[str, Any] = {}
        if known is not None:
            initial = {name: getattr(known, name) for name in self.base_fields if hasattr(known, name)}
            initial["certificates"] = "\n".join(_pem(one) for one in known.certificates)
        super().__init__(data, initial=initial, auto_id="provider_%s")

    def wanted(self) -> Wanted:
        """Return what was entered, without the metadata."""
        data = dict(self.cleaned_data)
        del data["metadata"]
        data["client_secret"] = data["client_secret"] or None
        marker = "-----END CERTIFICATE-----"
        texts = [part for part in data["certificates"].split(marker) if part.strip()]
        data["certificates"] = tuple(texts)
        if data["kind"] == OIDC:
            data["certificates"] = ()
        return Wanted(**data)


def _pem(bare: str) -> str:
    lines = [bare[start : start + 64] for start in range(0, len(bare), 64)]
    return "\n".join(("-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----"))


class Domain(forms.Form):
    """A domain of email addresses."""

    name = forms.CharField(label="Domain", max_length=253, help_text="Such as example.org.")


class Token(forms.Form):
    """A new SCIM token."""

    form_key = forms.UUIDField(widget=forms.HiddenInput, required=False, initial=uuid4)
    name = forms.CharField(label="Name", max_length=120, help_text="Such as okta-provisioning.")
    days = forms.TypedChoiceField(label="Works for", choices=TOKEN_LIVES, coerce=int, initial=365)


class Mapping(forms.Form):
    """A group that the provider fills."""

    group = forms.TypedChoiceField(label="Group", coerce=UUID)
    claim = forms.CharField(label="Name at the provider", max_length=255, help_text="A value of the claim with groups.")

    def __init__(self, data: Any = None, *, groups: Sequence[tuple[str, str]]) -> None:
        super().__init__(data, auto_id="mapping_%s")
        cast("forms.ChoiceField", self.fields["group"]).choices = [("", "Choose one"), *groups]
