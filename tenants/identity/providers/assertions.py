"""Answers of SAML providers: signatures and XML are checked by python3-saml.

It lets some conditions be absent; here each has to be there: signed assertion, audience, destination, recipient, the
request that it answers, and an end.
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from tenants.clock import now
from tenants.identity.providers.oidc import LONGEST_SUBJECT, MOST_GROUPS, Identity
from tenants.identity.providers.queries import Addresses
from tenants.identity.providers.saml import POST, UNSPECIFIED, Asserted, AssertionRefused
from tenants.models import IdentityProvider

#: Bytes of an answer in base64; parsing begins below that only.
LONGEST_ANSWER = 256 * 1024
TRANSIENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
EMAILS = (
    "email",
    "mail",
    "emailaddress",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
    "urn:oid:0.9.2342.19200300.100.1.3",
)
NAMES = (
    "displayname",
    "name",
    "http://schemas.microsoft.com/identity/claims/displayname",
    "urn:oid:2.16.840.1.113730.3.1.241",
)
#: An assertion's end is never believed to be further away: until then its id is remembered.
LONGEST_LIFE = timedelta(hours=24)


def checked(provider: IdentityProvider, ours: Addresses, *, answer: str, request_id: str) -> Asserted:
    """Return what an answer asserts, if the provider signed it, for us, for this request, and it is fresh.

    Raises AssertionRefused.
    """
    # The libraries of XML and signatures take 18 MiB: a process without SAML log-ins never loads them.
    from lxml import etree
    from onelogin.saml2.errors import OneLogin_Saml2_Error, OneLogin_Saml2_ValidationError
    from onelogin.saml2.response import OneLogin_Saml2_Response

    text = _bounded(answer)
    try:
        response = OneLogin_Saml2_Response(_settings(provider, ours), text)
        where = urlsplit(ours.acs)
        asked = {
            "https": "on" if where.scheme == "https" else "off",
            "http_host": where.netloc,
            "script_name": where.path,
        }
        response.is_valid(asked, request_id=request_id, raise_exceptions=True)
        return _strictly(provider, ours, response, request_id)
    except (
        OneLogin_Saml2_Error,
        OneLogin_Saml2_ValidationError,
        etree.LxmlError,
        ValueError,
        TypeError,
        KeyError,
    ) as error:
        raise AssertionRefused from error


def _bounded(answer: str) -> str:
    """Return an answer in base64: bounded, UTF-8, without document type, so that nothing expands while it is parsed."""
    bare = "".join(answer.split())
    if not bare or len(bare) > LONGEST_ANSWER:
        raise AssertionRefused
    try:
        text = base64.b64decode(bare, validate=True).decode()
    except (ValueError, binascii.Error) as error:
        raise AssertionRefused from error
    if "\x00" in text or "<!" in text.replace("<![CDATA[", ""):
        raise AssertionRefused
    return bare


def _settings(provider: IdentityProvider, ours: Addresses) -> Any:
    from onelogin.saml2.settings import OneLogin_Saml2_Settings

    return OneLogin_Saml2_Settings(
        {
            "strict": True,
            "debug": False,
            "sp": {
                "entityId": ours.entity_id,
                "assertionConsumerService": {"url": ours.acs, "binding": POST},
                "NameIDFormat": UNSPECIFIED,
            },
            "idp": {
                "entityId": provider.issuer,
                "singleSignOnService": {"url": provider.sign_in_url},
                "x509certMulti": {"signing": list(provider.certificates)},
            },
            "security": {
                "wantAssertionsSigned": True,
                "wantNameId": True,
                "wantAttributeStatement": False,
                "requestedAuthnContext": False,
                "rejectDeprecatedAlgorithm": True,
                "allowSingleLabelDomains": True,
                "allowRepeatAttributeName": True,
            },
        }
    )


def _strictly(provider: IdentityProvider, ours: Addresses, response: Any, request_id: str) -> Asserted:
    """Check what the library lets be absent. Only elements below the signed assertion are read."""
    confirmations = response._query_assertion("/saml:Subject/saml:SubjectConfirmation/saml:SubjectConfirmationData")
    ends = [
        one.get("NotOnOrAfter")
        for one in confirmations
        if one.get("InResponseTo") == request_id and one.get("Recipient") == ours.acs and one.get("NotOnOrAfter")
    ]
    audiences = [text.strip() for text in response.get_audiences() if text]
    if (
        not ends
        or ours.entity_id not in audiences
        or response.document.get("Destination") != ours.acs
        or response.document.get("InResponseTo") != request_id
        or provider.issuer not in response.get_issuers()
    ):
        raise AssertionRefused from ValueError(
            "The answer is for another log-in, address or organisation, or of another issuer."
        )
    latest = min(now() + LONGEST_LIFE, max(_moment(end) for end in ends))
    assertion_id = response.get_assertion_id()
    if not assertion_id:
        raise AssertionRefused
    return Asserted(_identity(provider, response), f"{provider.id} {assertion_id}", latest)


def _moment(text: str) -> datetime:
    from onelogin.saml2.utils import OneLogin_Saml2_Utils

    return datetime.fromtimestamp(OneLogin_Saml2_Utils.parse_SAML_to_time(text), UTC)


def _identity(provider: IdentityProvider, response: Any) -> Identity:
    subject, form = response.get_nameid() or "", response.get_nameid_format()
    if not 1 <= len(subject) <= LONGEST_SUBJECT or form == TRANSIENT:
        raise AssertionRefused(
            "The identity provider sends no lasting name of the person: have it send a persistent NameID."
        )
    stated: dict[str, list[Any]] = {}
    for name, values in response.get_attributes().items():
        stated[str(name)] = [value for value in values if isinstance(value, str)]
    lower = {name.lower(): values for name, values in stated.items() if values}
    email = next((lower[name][0] for name in EMAILS if name in lower), "")
    if not email and "@" in subject:
        email = subject
    return Identity(
        subject=subject,
        email=email.strip(),
        name=next((lower[name][0] for name in NAMES if name in lower), "").strip(),
        groups=tuple(stated.get(provider.groups_claim, ())[:MOST_GROUPS]) if provider.groups_claim else (),
        claims={"NameID": subject, **stated},
    )
