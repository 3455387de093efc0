"""Signatures of ID tokens, checked by joserfc against the keys that the provider publishes."""

from __future__ import annotations

from typing import Any

from tenants.errors import PermissionDenied

#: Signatures by a key pair only: neither `none`, nor a secret that is shared with the provider.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
MOST_KEYS = 50


class TokenRefused(PermissionDenied):
    """The identity provider's answer is not valid for this log-in. Begin again; if it stays so, ask an owner of the organisation."""

    code = "id_token_refused"


def verified(token: str, published: dict[str, Any]) -> dict[str, Any]:
    """Return the claims if one of the published keys signed them. Raises TokenRefused."""
    # The library takes 15 MiB: a process without OpenID log-ins never loads it.
    from joserfc import jws, jwt
    from joserfc.errors import JoseError
    from joserfc.jwk import KeySet

    try:
        header = jws.extract_compact(token.encode()).headers()
        if header.get("alg") not in ALGORITHMS:
            raise TokenRefused from ValueError("The ID token is not signed by one of the accepted algorithms.")
        fitting = _keys(published, header.get("kid"))
    except (JoseError, ValueError, UnicodeError) as error:
        raise TokenRefused from error
    for key in fitting:
        try:
            return jwt.decode(token, KeySet([key]), algorithms=list(ALGORITHMS)).claims
        except (JoseError, ValueError, TypeError):
            continue
    raise TokenRefused from ValueError("None of the keys that the provider publishes has signed the ID token.")


def _keys(published: dict[str, Any], kid: Any) -> list[Any]:
    """Return the public signing keys that may have signed under a key id; keys that we cannot read are left out."""
    from joserfc.errors import JoseError
    from joserfc.jwk import JWKRegistry

    rows = published.get("keys")
    found = []
    for row in (rows if isinstance(rows, list) else [])[:MOST_KEYS]:
        if not isinstance(row, dict) or row.get("kty") not in ("RSA", "EC", "OKP") or row.get("use", "sig") != "sig":
            continue
        if kid is not None and row.get("kid") not in (None, kid):
            continue
        try:
            found.append(JWKRegistry.import_key(row))
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    return found
