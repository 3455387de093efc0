"""Signing certificates of a SAML provider, and what its metadata states."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from tenants.errors import Invalid

MOST, LONGEST = 5, 10_000
MOST_METADATA = 512 * 1024
LEAST_RSA_BITS = 2048
NS = {"md": "urn:oasis:names:tc:SAML:2.0:metadata", "ds": "http://www.w3.org/2000/09/xmldsig#"}
REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
PEM = re.compile(r"-----(BEGIN|END) CERTIFICATE-----")


def checked(texts: Iterable[str]) -> list[str]:
    """Return certificates in base64, without white space and PEM lines. Raises Invalid."""
    found = [_checked(text) for text in texts if text.strip()]
    if not 1 <= len(found) <= MOST:
        raise Invalid(fields={"certificates": [f"Give 1 to {MOST} signing certificates of the provider."]})
    return list(dict.fromkeys(found))


def _checked(text: str) -> str:
    wrong = Invalid(
        fields={"certificates": ["Paste the certificate in PEM form, with an RSA key of 2048 bits or an EC key."]}
    )
    bare = "".join(PEM.sub("", text).split())
    if len(bare) > LONGEST:
        raise wrong
    try:
        found = x509.load_der_x509_certificate(base64.b64decode(bare, validate=True))
        key = found.public_key()
    except (ValueError, binascii.Error, TypeError) as error:
        raise wrong from error
    strong = isinstance(key, ec.EllipticCurvePublicKey) or (
        isinstance(key, rsa.RSAPublicKey) and key.key_size >= LEAST_RSA_BITS
    )
    if not strong:
        raise wrong
    return base64.b64encode(found.public_bytes(Encoding.DER)).decode()


@dataclass(frozen=True)
class Metadata:
    """What a provider's metadata states of it."""

    issuer: str
    sign_in_url: str
    certificates: tuple[str, ...]


def from_metadata(text: str) -> Metadata:
    """Read a SAML provider's metadata: entity id, address of the redirect binding, signing certificates. Raises Invalid."""
    root = _parsed(text)
    entity = root if root.tag == f"{{{NS['md']}}}EntityDescriptor" else root.find(".//md:EntityDescriptor", NS)
    part = None if entity is None else entity.find("md:IDPSSODescriptor", NS)
    if entity is None or part is None:
        raise Invalid(fields={"metadata": ["This is no metadata of a SAML identity provider."]})
    services = part.findall("md:SingleSignOnService", NS)
    url = next((str(one.get("Location", "")) for one in services if one.get("Binding") == REDIRECT), "")
    if not url:
        raise Invalid(fields={"metadata": ["The provider offers no log-in by HTTP redirect."]})
    keys = [one for one in part.findall("md:KeyDescriptor", NS) if one.get("use", "signing") == "signing"]
    texts = [found.text or "" for key in keys for found in key.findall(".//ds:X509Certificate", NS)]
    return Metadata(str(entity.get("entityID", "")), url, tuple(texts))


def _parsed(text: str) -> Any:
    """Parse XML that somebody pasted: small, without a document type, so nothing expands."""
    wrong = Invalid(fields={"metadata": ["Paste the XML of the provider's metadata, without a document type."]})
    raw = text.strip().encode()
    if len(raw) > MOST_METADATA or b"<!DOCTYPE" in raw.upper() or b"<!ENTITY" in raw.upper():
        raise wrong
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False, load_dtd=False)
    try:
        return etree.fromstring(raw, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise wrong from error
