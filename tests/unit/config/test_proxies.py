"""Which proxies are trusted: the table of EXCHEQUER_TRUSTED_PROXIES."""

from __future__ import annotations

from typing import Any

import pytest

from config.web.proxies import BEHIND, CLAIMS, TrustedProxies, trusted

CASES = [
    # setting, peer, X-Forwarded-For, X-Forwarded-Proto -> client, scheme
    ("", "192.0.2.7", "6.6.6.6", "https", "192.0.2.7", "http"),
    ("10.0.0.5", "192.0.2.7", "6.6.6.6", "https", "192.0.2.7", "http"),
    ("10.0.0.5", "10.0.0.5", "192.0.2.7", "https", "192.0.2.7", "https"),
    ("10.0.0.5", "10.0.0.5", "6.6.6.6, 192.0.2.7", "https", "192.0.2.7", "https"),
    ("10.0.0.5", "10.0.0.5", "", "https", "10.0.0.5", "https"),
    ("10.0.0.5", "10.0.0.5", "6.6.6.6, nonsense", "http", "10.0.0.5", "http"),
    ("10.0.0.5", "10.0.0.5", "192.0.2.7:4711", "", "192.0.2.7", "http"),
    ("10.0.0.5", "10.0.0.5", "[2001:db8::1]:4711", "https", "2001:db8::1", "https"),
    ("10.0.0.5", "10.0.0.5", "192.0.2.7", "javascript", "192.0.2.7", "http"),
    # A client inside a trusted network cannot choose: each entry is one hop.
    ("127.0.0.1", "127.0.0.1", "6.6.6.6, 127.0.0.1", "https", "127.0.0.1", "https"),
    ("10.0.0.0/8", "10.0.0.5", "6.6.6.6, 10.9.9.9", "https", "10.9.9.9", "https"),
    ("10.0.0.0/8, 198.51.100.0/24", "10.0.0.5", "6.6.6.6, 192.0.2.7, 198.51.100.3", "https", "192.0.2.7", "https"),
    ("10.0.0.0/8, 198.51.100.0/24", "10.0.0.5", "192.0.2.7, 198.51.100.3", "https, http", "192.0.2.7", "https"),
    ("::1", "::1", "192.0.2.7", "https", "192.0.2.7", "https"),
    ("10.0.0.5", "::ffff:10.0.0.5", "192.0.2.7", "https", "192.0.2.7", "https"),
    ("1", "10.0.0.5", "6.6.6.6, 192.0.2.7", "https", "192.0.2.7", "https"),
    ("2", "10.0.0.5", "6.6.6.6, 192.0.2.7, 10.0.0.4", "https", "192.0.2.7", "https"),
    ("1", "8.8.8.8", "6.6.6.6", "https", "8.8.8.8", "http"),
]


@pytest.mark.parametrize("case", CASES)
def test_only_a_trusted_proxy_is_believed(case: tuple[str, ...]) -> None:
    setting, peer, chain, scheme, client, seen = case
    environ: dict[str, Any] = dict.fromkeys(CLAIMS, "evil.example") | {"REMOTE_ADDR": peer, "wsgi.url_scheme": "http"}
    environ |= {"HTTP_X_FORWARDED_FOR": chain, "HTTP_X_FORWARDED_PROTO": scheme, "HTTP_HOST": "here"}
    got: dict[str, Any] = {}

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        got.update(environ)
        return []

    TrustedProxies(application, trusted(setting))(environ, None)
    assert (got["REMOTE_ADDR"], got["wsgi.url_scheme"]) == (client, seen)
    assert got[BEHIND] == (client != peer or seen == "https" or setting == peer)
    assert set(got) & set(CLAIMS) == set(), "nothing behind may believe them"
    assert got["HTTP_HOST"] == "here"


@pytest.mark.parametrize("wrong", ["nginx", "10.0.0.300", "10.0.0.0/99", "11", "-1"])
def test_a_wrong_setting_is_refused_with_an_example(wrong: str) -> None:
    with pytest.raises(ValueError, match="use addresses and networks such as"):
        trusted(wrong)
