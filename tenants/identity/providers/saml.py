"""SAML 2.0: a request by redirect, our metadata, and the use of an answer once. `assertions` checks the answer."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlencode, urlsplit
from xml.sax.saxutils import escape, quoteattr

from django.db import IntegrityError, transaction

from tenants.clock import now
from tenants.errors import PermissionDenied
from tenants.identity.providers.attempts import digest
from tenants.identity.providers.oidc import Identity
from tenants.identity.providers.queries import Addresses
from tenants.models import IdentityProvider, UsedAssertion

POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
UNSPECIFIED = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"
PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
EMAIL_FORMAT = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"


class AssertionRefused(PermissionDenied):
    """The identity provider's answer is not valid for this log-in. Begin again; if it stays so, ask an owner of the organisation."""

    code = "assertion_refused"


class AssertionReplayed(AssertionRefused):
    """This answer of the identity provider was used before. Begin again."""

    code = "assertion_replayed"


@dataclass(frozen=True)
class Asserted:
    """What a valid assertion states, and what makes it unrepeatable."""

    identity: Identity
    assertion_id: str = field(repr=False)
    expires_at: datetime


def request_url(provider: IdentityProvider, ours: Addresses, *, request_id: str, state: str) -> str:
    """Return where the browser logs in: the redirect binding with a request of this id."""
    issued = f"{now():%Y-%m-%dT%H:%M:%SZ}"
    request = (
        '<samlp:AuthnRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" '
        f'xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID={quoteattr(request_id)} Version="2.0" '
        f'IssueInstant="{issued}" Destination={quoteattr(provider.sign_in_url)} ProtocolBinding="{POST}" '
        f"AssertionConsumerServiceURL={quoteattr(ours.acs)}><saml:Issuer>{escape(ours.entity_id)}</saml:Issuer>"
        f'<samlp:NameIDPolicy Format="{UNSPECIFIED}" AllowCreate="true"/></samlp:AuthnRequest>'
    )
    packed = zlib.compress(request.encode(), wbits=-15)
    asked = {"SAMLRequest": base64.b64encode(packed).decode(), "RelayState": state}
    joint = "&" if urlsplit(provider.sign_in_url).query else "?"
    return f"{provider.sign_in_url}{joint}{urlencode(asked)}"


def metadata(ours: Addresses) -> str:
    """Return our metadata, as a provider's administrator imports it."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID={quoteattr(ours.entity_id)}>\n'
        '  <md:SPSSODescriptor AuthnRequestsSigned="false" WantAssertionsSigned="true" '
        'protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">\n'
        f"    <md:NameIDFormat>{PERSISTENT}</md:NameIDFormat>\n    <md:NameIDFormat>{EMAIL_FORMAT}</md:NameIDFormat>\n"
        f'    <md:AssertionConsumerService Binding="{POST}" Location={quoteattr(ours.acs)} index="1" isDefault="true"/>\n'
        "  </md:SPSSODescriptor>\n</md:EntityDescriptor>\n"
    )


def use_once(found: Asserted) -> None:
    """Remember an assertion in the open tenant. Raises AssertionReplayed for one that is remembered."""
    try:
        with transaction.atomic():
            UsedAssertion.objects.create(digest=digest(found.assertion_id), expires_at=found.expires_at)
    except IntegrityError as again:
        raise AssertionReplayed from again
