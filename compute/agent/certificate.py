"""The certificate of one attempt, by which its hosts know the one that leads."""

from __future__ import annotations

import ssl
import tempfile
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from compute.agent.link import tls


def certified() -> tuple[str, ssl.SSLContext]:
    """Return a new certificate as PEM, and the context that proves it. It never expires: clocks of hosts differ."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ranks")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2000, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2200, 1, 1, tzinfo=UTC))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = tls(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    with tempfile.NamedTemporaryFile(prefix="ranks-") as both:  # the library takes files alone
        both.write(public + private)
        both.flush()
        context.load_cert_chain(both.name)
    return public.decode(), context
