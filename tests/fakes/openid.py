"""An OpenID provider of our own: keeps to the rules, or breaks the one that a test names.

It answers requests in this process (`send`), as the fetcher would bring them, and logs a person in as its page would
(`log_in`). At a port of its own it answers a browser, too (`page`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from functools import cache
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit
from uuid import UUID

from joserfc import jwt
from joserfc.jwk import RSAKey

from tenants.outbound.client import Answer

CLIENT_ID, CLIENT_SECRET = "exchequer", "a client secret"


@cache
def key(name: str) -> RSAKey:
    """Return a signing key; the same name gives the same key."""
    return RSAKey.generate_key(2048, {"kid": name, "use": "sig"}, private=True)


class OpenIdProvider:
    """A provider at `issuer`. `change` replaces claims of its ID tokens; None removes one."""

    def __init__(self, issuer: str = "https://login.idp.example") -> None:
        self.issuer = issuer
        self.change: dict[str, Any] = {}
        self.header: dict[str, Any] = {}
        self.signs_with: Any = None
        self.publishes: dict[str, Any] = {}
        self.asked: list[tuple[str, str]] = []
        self.person: dict[str, Any] = {}
        self._codes: dict[str, dict[str, Any]] = {}

    def send(self, tenant_id: UUID, method: str, url: str, *, headers: Any = None, body: bytes = b"") -> Answer:
        """Answer one request."""
        self.asked.append((method, url))
        path = url.removeprefix(self.issuer)
        if not url.startswith(self.issuer):
            return Answer(404, (), b"")
        if path == "/.well-known/openid-configuration":
            return self._json(self._document() | self.publishes)
        if path == "/keys":
            return self._json({"keys": [key("one").as_dict(private=False)]})
        if path == "/token" and method == "POST":
            return self._token(dict(parse_qsl(body.decode())), dict(headers or {}))
        return Answer(404, (), b"")

    def page(self, method: str, path: str, *, headers: Any = None, body: bytes = b"") -> Answer:
        """Answer a request that arrived at its port: as `send`, and `person` is logged in at once."""
        if path.startswith("/authorize?"):
            back = self.log_in(f"{self.issuer}{path}", **self.person)
            return Answer(302, (("location", back),), b"")
        return self.send(UUID(int=0), method, f"{self.issuer}{path}", headers=headers, body=body)

    def log_in(self, url: str, **person: Any) -> str:
        """Log a person in at the address that the product redirected to; return where the browser goes then."""
        given = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert url.startswith(f"{self.issuer}/authorize?")
        assert given["response_type"] == "code"
        assert given["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self._codes[code] = {**given, "person": person}
        back = {"code": code, "state": given["state"], "iss": self.issuer}
        return f"{given['redirect_uri']}?{urlencode(back)}"

    def _document(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
        }

    def _token(self, given: dict[str, str], headers: dict[str, str]) -> Answer:
        asked = self._codes.pop(given.get("code", ""), None)
        pair = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET.replace(' ', '%20')}".encode()).decode()
        challenge = hashlib.sha256(given.get("code_verifier", "").encode()).digest()
        if (
            asked is None
            or headers.get("Authorization") != f"Basic {pair}"
            or given.get("redirect_uri") != asked["redirect_uri"]
            or base64.urlsafe_b64encode(challenge).decode().rstrip("=") != asked["code_challenge"]
        ):
            return Answer(400, (), b'{"error": "invalid_grant"}')
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": int(time.time()),
            "exp": int(time.time()) + 300,
            "nonce": asked["nonce"],
            "email_verified": True,
            **asked["person"],
            **self.change,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        return self._json({"access_token": "x", "token_type": "Bearer", "id_token": self._signed(claims)})

    def _signed(self, claims: dict[str, Any]) -> str:
        header = {"alg": "RS256", "kid": "one", **self.header}
        if header["alg"] == "none":
            parts = [json.dumps({"alg": "none"}).encode(), json.dumps(claims).encode()]
            return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."
        if header["alg"] == "HS256":  # signed with the public key, for those who take it for a shared secret
            parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
            digest = hmac.digest(key("one").as_pem(private=False), b".".join(parts), "sha256")
            return b".".join([*parts, base64.urlsafe_b64encode(digest).rstrip(b"=")]).decode()
        return jwt.encode(header, claims, self.signs_with or key("one"), algorithms=["RS256"])

    @staticmethod
    def _json(value: dict[str, Any]) -> Answer:
        return Answer(200, (), json.dumps(value).encode())
