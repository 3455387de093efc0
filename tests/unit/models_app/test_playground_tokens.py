"""A playground token: single use, valid for half a minute, for one endpoint and person."""

from __future__ import annotations

import base64
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models_app.endpoints import playground_tokens

WHO = {"tenant_id": UUID(int=1), "endpoint_id": UUID(int=2), "user_id": UUID(int=3)}


def made(now_s: float = 1_000.0, key: str = "secret", nonce: bytes = b"12345678") -> str:
    return playground_tokens.sign(key, **WHO, now_s=now_s, nonce=nonce)


def test_a_pass_says_who_tries_what():
    found = playground_tokens.verify("secret", made(), now_s=1_029.9)
    assert (found.tenant_id, found.endpoint_id, found.user_id) == tuple(WHO.values())


@pytest.mark.parametrize("now_s", [1_030.0, 5_000.0, 900.0])
def test_a_pass_is_good_for_half_a_minute(now_s):
    with pytest.raises(playground_tokens.BadPlaygroundToken):
        playground_tokens.verify("secret", made(), now_s=now_s)


def test_a_pass_of_another_installation_is_forged():
    with pytest.raises(playground_tokens.BadPlaygroundToken):
        playground_tokens.verify("secret", made(key="other"), now_s=1_001)


@given(st.integers(0, playground_tokens.BODY.size + playground_tokens.MAC_BYTES - 1), st.integers(1, 255))
def test_a_changed_pass_is_forged(at, change):
    raw = bytearray(base64.urlsafe_b64decode(made()))
    raw[at] ^= change
    with pytest.raises(playground_tokens.BadPlaygroundToken):
        playground_tokens.verify("secret", base64.urlsafe_b64encode(bytes(raw)).decode(), now_s=1_001)


@given(st.text(max_size=200))
def test_any_text_is_no_pass(text):
    with pytest.raises(playground_tokens.BadPlaygroundToken):
        playground_tokens.verify("secret", text, now_s=1_001)


def test_a_pass_is_valid_once_and_expires():
    used, one = playground_tokens.Used(), playground_tokens.verify("secret", made(), now_s=1_001)
    used.take(one, now_s=1_001)
    with pytest.raises(playground_tokens.BadPlaygroundToken):
        used.take(one, now_s=1_002)
    used.take(playground_tokens.verify("secret", made(nonce=b"87654321"), now_s=1_002), now_s=1_002)
    used.take(playground_tokens.verify("secret", made(now_s=2_000), now_s=2_001), now_s=2_001)
    assert len(used._until) == 1
