"""OpenID Connect: the authorisation code flow with PKCE, state and nonce. What the provider signs is checked by joserfc.

No function here runs inside a transaction: each asks the provider's servers.
"""

from __future__ import annotations

import base64
import hashlib
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import Any
from urllib.parse import quote, urlencode, urlsplit
from uuid import UUID

from tenants.clock import now
from tenants.identity.providers import id_tokens, outbound
from tenants.identity.providers.id_tokens import TokenRefused
from tenants.identity.providers.outbound import ProviderUnreachable
from tenants.models import IdentityProvider

LEEWAY = timedelta(seconds=60)
OLDEST = timedelta(minutes=15)
LONGEST_TOKEN, LONGEST_SUBJECT, MOST_GROUPS = 64 * 1024, 255, 1000
DISCOVERY_S, MOST_DISCOVERED = 300.0, 1000
SCOPES = "openid email profile"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a provider states about a person. `email_verified` is None where it says nothing of it."""

    subject: str
    email: str = ""
    email_verified: bool | None = None
    name: str = ""
    groups: tuple[str, ...] = ()
    claims: dict[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Endpoints:
    """The addresses that a provider publishes."""

    authorization: str
    token: str
    keys: str
    userinfo: str
    basic: bool


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """What turns a code into an identity."""

    code: str
    verifier: str
    nonce: str
    redirect_uri: str
    secret: str = field(repr=False)


def authorization_url(provider: IdentityProvider, *, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
    """Return where the browser logs in. Raises ProviderUnreachable."""
    found = discover(provider.tenant_id, provider.issuer)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    asked = {
        "response_type": "code",
        "client_id": provider.client_id,
        "redirect_uri": redirect_uri,
        "scope": SCOPES,
        "state": state,
        "nonce": nonce,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    joint = "&" if urlsplit(found.authorization).query else "?"
    return f"{found.authorization}{joint}{urlencode(asked)}"


def identity(provider: IdentityProvider, exchange: Exchange) -> Identity:
    """Exchange a code for who the person is. Raises ProviderUnreachable, TokenRefused."""
    found = discover(provider.tenant_id, provider.issuer)
    answer = _exchanged(provider, found, exchange)
    claims = _checked(provider, found, str(answer.get("id_token") or ""), exchange.nonce)
    access = answer.get("access_token")
    if not claims.get("email") and found.userinfo and isinstance(access, str):
        claims = _userinfo(provider, found, access, claims["sub"]) | claims
    return _identity(provider, claims)


_discovered: dict[tuple[UUID, str], tuple[float, Endpoints]] = {}
_lock = Lock()


def discover(tenant_id: UUID, issuer: str) -> Endpoints:
    """Return the addresses that an issuer publishes, kept for five minutes. Raises ProviderUnreachable."""
    known = _discovered.get((tenant_id, issuer))
    if known is not None and known[0] > time.monotonic():
        return known[1]
    where = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
    stated = outbound.stated(outbound.send(tenant_id, "GET", where))
    if stated.get("issuer") != issuer:
        raise ProviderUnreachable("The identity provider publishes another issuer than the one configured.")
    methods = stated.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    found = Endpoints(
        authorization=_https(stated, "authorization_endpoint"),
        token=_https(stated, "token_endpoint"),
        keys=_https(stated, "jwks_uri"),
        userinfo=_https(stated, "userinfo_endpoint") if stated.get("userinfo_endpoint") else "",
        basic="client_secret_basic" in methods if isinstance(methods, list) else True,
    )
    with _lock:
        if len(_discovered) >= MOST_DISCOVERED:
            _discovered.clear()
        _discovered[tenant_id, issuer] = (time.monotonic() + DISCOVERY_S, found)
    return found


def forget(tenant_id: UUID) -> None:
    """Forget what a tenant's issuers published, after a change."""
    with _lock:
        for known in [key for key in _discovered if key[0] == tenant_id]:
            del _discovered[known]


def _https(stated: dict[str, Any], name: str) -> str:
    url = stated.get(name)
    if not isinstance(url, str) or urlsplit(url).scheme != "https" or not url.isascii() or not url.isprintable():
        raise ProviderUnreachable(f"The identity provider publishes no https address as {name}.")
    return url


def _exchanged(provider: IdentityProvider, found: Endpoints, exchange: Exchange) -> dict[str, Any]:
    body = {
        "grant_type": "authorization_code",
        "code": exchange.code,
        "redirect_uri": exchange.redirect_uri,
        "code_verifier": exchange.verifier,
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    if exchange.secret and found.basic:
        pair = f"{quote(provider.client_id, safe='')}:{quote(exchange.secret, safe='')}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    else:
        body["client_id"] = provider.client_id
        if exchange.secret:
            body["client_secret"] = exchange.secret
    answer = outbound.send(provider.tenant_id, "POST", found.token, headers=headers, body=urlencode(body).encode())
    if answer.status in (400, 401):
        raise TokenRefused(
            "The identity provider refused the log-in. If it stays so, ask an owner to check the client secret."
        ) from ValueError(f"Status {answer.status}: {answer.body[:200].decode(errors='replace')}")
    return outbound.stated(answer)


def _checked(provider: IdentityProvider, found: Endpoints, token: str, nonce: str) -> dict[str, Any]:
    """Return the claims of an ID token that is signed by the provider, for us, for this log-in, and fresh."""
    if not token or len(token) > LONGEST_TOKEN:
        raise TokenRefused from ValueError("There is no ID token, or it is too long.")
    keys = outbound.stated(outbound.send(provider.tenant_id, "GET", found.keys))
    claims = id_tokens.verified(token, keys)
    present = now()
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    party = claims.get("azp")
    issued, ends = _moment(claims, "iat"), _moment(claims, "exp")
    subject = claims.get("sub")
    faults = {
        "iss is not the configured issuer": claims.get("iss") != provider.issuer,
        "aud does not name the client id alone": provider.client_id not in audiences
        or (len(audiences) > 1 and party != provider.client_id),
        "azp is not the client id": party not in (None, provider.client_id),
        "nonce is that of another log-in": claims.get("nonce") != nonce,
        "exp is missing or past": ends is None or present >= ends + LEEWAY,
        "iat is missing, too old or to come": issued is None or not present - OLDEST <= issued <= present + LEEWAY,
        "sub is missing or too long": not isinstance(subject, str) or not 1 <= len(subject) <= LONGEST_SUBJECT,
    }
    if wrong := [fault for fault, is_so in faults.items() if is_so]:
        raise TokenRefused from ValueError(f"ID token: {', '.join(wrong)}.")
    return claims


def _moment(claims: dict[str, Any], name: str) -> datetime | None:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return datetime.fromtimestamp(value, now().tzinfo)
    except (ValueError, OverflowError, OSError):
        return None


def _userinfo(provider: IdentityProvider, found: Endpoints, access: str, subject: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {access}", "Accept": "application/json"}
    stated = outbound.stated(outbound.send(provider.tenant_id, "GET", found.userinfo, headers=headers))
    if stated.get("sub") != subject:
        raise TokenRefused from ValueError("The userinfo endpoint answers for another subject.")
    return stated


def _identity(provider: IdentityProvider, claims: dict[str, Any]) -> Identity:
    groups = claims.get(provider.groups_claim) if provider.groups_claim else None
    texts = groups if isinstance(groups, list) else [groups] if isinstance(groups, str) else []
    verified = claims.get("email_verified")
    return Identity(
        subject=claims["sub"],
        email=_text(claims, "email"),
        email_verified=verified
        if isinstance(verified, bool)
        else str(verified).lower() == "true"
        if verified
        else None,
        name=_text(claims, "name"),
        groups=tuple(str(one) for one in texts[:MOST_GROUPS]),
        claims=claims,
    )


def _text(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name)
    return value.strip() if isinstance(value, str) else ""
