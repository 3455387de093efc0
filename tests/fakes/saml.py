"""A SAML provider of our own, on signxml: keeps to the rules, or breaks the one that a test names."""

from __future__ import annotations

import base64
import zlib
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from lxml import etree
from signxml import XMLSigner, methods

ISSUER, SIGN_IN = "https://idp.example/entity", "https://idp.example/sso"
SAMLP, SAML, DS = (
    "urn:oasis:names:tc:SAML:2.0:protocol",
    "urn:oasis:names:tc:SAML:2.0:assertion",
    "http://www.w3.org/2000/09/xmldsig#",
)
NS = {"p": SAMLP, "a": SAML, "ds": DS}
BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"


@cache
def pair(name: str) -> tuple[bytes, str]:
    """Return a key and its certificate, in PEM; the same name gives the same pair."""
    key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"idp {name}")])
    start = datetime.now(UTC) - timedelta(days=1)
    made = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(start).not_valid_after(start + timedelta(days=30))
    certificate = made.sign(key, SHA256())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem, certificate.public_bytes(Encoding.PEM).decode()


class Careless(XMLSigner):
    """Signs with algorithms that signxml itself refuses, too."""

    def check_deprecated_methods(self) -> None:
        """Accept them."""


@dataclass
class Asked:
    """What the product asked for."""

    request_id: str
    acs: str
    audience: str
    state: str


@dataclass
class SamlProvider:
    """Answers a request. `change` edits the answer before it is signed, `wrapped` afterwards; `sign_in` is its address.

    At a port of its own it answers a browser, too (`page`).
    """

    sign_in: str = SIGN_IN
    signs: bool = True
    key: str = "one"
    digest: str = "sha256"
    change: dict[str, Any] = field(default_factory=dict)
    assertion_id: str = ""

    @staticmethod
    def read(url: str, sign_in: str = SIGN_IN) -> Asked:
        """Read the request that the browser brings."""
        given = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert url.startswith(f"{sign_in}?")
        root = etree.fromstring(zlib.decompress(base64.b64decode(given["SAMLRequest"]), wbits=-15))
        issuer = root.findtext("a:Issuer", namespaces=NS)
        return Asked(root.get("ID"), root.get("AssertionConsumerServiceURL"), issuer, given["RelayState"])

    def page(self, path: str, **person: str) -> str:
        """Answer a request that arrived at its port: its metadata, or the form by which the browser brings a person back."""
        if path == "/metadata":
            return metadata(self.sign_in)
        base, _, rest = self.sign_in.rpartition("/")
        assert path.startswith(f"/{rest}?")
        asked = self.read(f"{base}{path}", self.sign_in)
        fields = {"SAMLResponse": posted(self.answer(asked, **person)), "RelayState": asked.state}
        inputs = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in fields.items())
        return f'<form method="post" action="{asked.acs}">{inputs}</form>'

    def answer(self, asked: Asked, *, subject: str, **attributes: str) -> etree._Element:
        """Return a response whose assertion is signed."""
        present = datetime.now(UTC)
        stated = {
            "audience": asked.audience,
            "recipient": asked.acs,
            "destination": asked.acs,
            "in_response_to": asked.request_id,
            "subject_in_response_to": asked.request_id,
            "not_before": present - timedelta(minutes=1),
            "not_on_or_after": present + timedelta(minutes=5),
            "subject_end": present + timedelta(minutes=5),
            "issuer": ISSUER,
            "format": PERSISTENT,
            "status": "urn:oasis:names:tc:SAML:2.0:status:Success",
            **self.change,
        }
        stated = {
            name: f"{value:%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else value
            for name, value in stated.items()
        }
        issued = f"{present:%Y-%m-%dT%H:%M:%SZ}"
        rows = "".join(
            f'<a:Attribute Name="{name}"><a:AttributeValue>{value}</a:AttributeValue></a:Attribute>'
            for name, value in attributes.items()
        )
        restriction = (
            f"<a:AudienceRestriction><a:Audience>{stated['audience']}</a:Audience></a:AudienceRestriction>"
            if stated["audience"]
            else ""
        )
        self.assertion_id = self.change.get("assertion_id") or f"_{uuid4().hex}"
        assertion = (
            f'<a:Assertion xmlns:a="{SAML}" ID="{self.assertion_id}" Version="2.0" IssueInstant="{issued}">'
            f"<a:Issuer>{stated['issuer']}</a:Issuer>"
            f'<a:Subject><a:NameID Format="{stated["format"]}">{subject}</a:NameID>'
            f'<a:SubjectConfirmation Method="{BEARER}"><a:SubjectConfirmationData'
            f"{_set('InResponseTo', stated['subject_in_response_to'])}{_set('Recipient', stated['recipient'])}"
            f"{_set('NotOnOrAfter', stated['subject_end'])}/></a:SubjectConfirmation></a:Subject>"
            f'<a:Conditions NotBefore="{stated["not_before"]}" NotOnOrAfter="{stated["not_on_or_after"]}">'
            f"{restriction}</a:Conditions>"
            f'<a:AuthnStatement AuthnInstant="{issued}"><a:AuthnContext><a:AuthnContextClassRef>'
            "urn:oasis:names:tc:SAML:2.0:ac:classes:Password</a:AuthnContextClassRef></a:AuthnContext></a:AuthnStatement>"
            f"<a:AttributeStatement>{rows}</a:AttributeStatement></a:Assertion>"
        )
        response = etree.fromstring(
            f'<p:Response xmlns:p="{SAMLP}" xmlns:a="{SAML}" ID="_{uuid4().hex}" Version="2.0" IssueInstant="{issued}"'
            f"{_set('Destination', stated['destination'])}{_set('InResponseTo', stated['in_response_to'])}>"
            f"<a:Issuer>{stated['issuer']}</a:Issuer>"
            f'<p:Status><p:StatusCode Value="{stated["status"]}"/></p:Status></p:Response>'
        )
        response.append(self._signed(etree.fromstring(assertion)) if self.signs else etree.fromstring(assertion))
        return response

    def _signed(self, assertion: etree._Element) -> etree._Element:
        key, certificate = pair(self.key)
        signer = Careless(
            method=methods.enveloped,
            signature_algorithm=f"rsa-{self.digest}",
            digest_algorithm=self.digest,
            c14n_algorithm="http://www.w3.org/2001/10/xml-exc-c14n#",
        )
        # The schema wants the signature behind the issuer: signxml puts it in place of this.
        assertion.insert(1, etree.Element(f"{{{DS}}}Signature", Id="placeholder", nsmap={"ds": DS}))
        signed = signer.sign(assertion, key=key, cert=certificate, reference_uri=assertion.get("ID"))
        return signed


def posted(response: etree._Element) -> str:
    """Return an answer as the browser posts it."""
    return base64.b64encode(etree.tostring(response)).decode()


def wrapped(response: etree._Element, how: str, victim: str) -> etree._Element:
    """Return a signed answer with a forged assertion around, beside or above the signed one (XSW)."""
    root = deepcopy(response)
    signed = root.find("a:Assertion", NS)
    forged = deepcopy(signed)
    forged.find("a:Subject/a:NameID", NS).text = victim
    for value in forged.iterfind(".//a:AttributeValue", NS):
        value.text = victim
    signature = forged.find("ds:Signature", NS)
    if how == "forged first":
        forged.set("ID", "_forged")
        forged.remove(signature)
        root.insert(root.index(signed), forged)
    elif how == "forged last":
        forged.set("ID", "_forged")
        forged.remove(signature)
        root.append(forged)
    elif how == "signed inside the forged":
        forged.set("ID", "_forged")
        forged.remove(signature)
        root.replace(signed, forged)
        forged.append(signed)
    elif how == "signed inside the forged's signature":
        forged.set("ID", "_forged")
        root.replace(signed, forged)
        holder = etree.SubElement(signature, f"{{{DS}}}Object")
        signed.remove(signed.find("ds:Signature", NS))
        holder.append(signed)
    elif how == "both with one id":
        forged.remove(signature)
        root.insert(root.index(signed), forged)
    elif how == "signed in extensions":
        forged.set("ID", "_forged")
        root.replace(signed, forged)
        extensions = etree.Element(f"{{{SAMLP}}}Extensions")
        extensions.append(signed)
        root.insert(1, extensions)
    elif how == "changed after signing":
        signed.find("a:Subject/a:NameID", NS).text = victim
    elif how == "signature emptied":
        signed.find("ds:Signature/ds:SignatureValue", NS).text = ""
    else:
        raise KeyError(how)
    return root


WRAPPINGS = (
    "forged first",
    "forged last",
    "signed inside the forged",
    "signed inside the forged's signature",
    "both with one id",
    "signed in extensions",
    "changed after signing",
    "signature emptied",
)


def metadata(sign_in: str = SIGN_IN) -> str:
    """Return the metadata of a provider with this address."""
    bare = "".join(pair("one")[1].splitlines()[1:-1])
    return (
        f'<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="{ISSUER}">'
        f'<md:IDPSSODescriptor protocolSupportEnumeration="{SAMLP}"><md:KeyDescriptor use="signing">'
        f'<ds:KeyInfo xmlns:ds="{DS}"><ds:X509Data><ds:X509Certificate>{bare}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>'
        '</md:KeyDescriptor><md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" '
        f'Location="{sign_in}"/></md:IDPSSODescriptor></md:EntityDescriptor>'
    )


def _set(name: str, value: str | None) -> str:
    return f' {name}="{value}"' if value else ""
