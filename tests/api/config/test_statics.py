"""Static files: gzipped for clients that accept it, cached by browsers, and new under a new URL."""

import gzip
import re
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client

from tests.support.pages import text_of

pytestmark = pytest.mark.django_db


def test_each_text_file_of_a_page_is_gzipped_and_cached_by_content() -> None:
    client = Client()
    page = text_of(client.get("/accounts/login/"))
    named = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
    assert len(named) >= 6
    for address in named:
        assert re.search(r"\?v=[0-9a-f]{10}$", address), address
        plain = client.get(address)
        body = b"".join(plain.streaming_content)  # type: ignore[attr-defined]
        assert plain["Cache-Control"] == "max-age=2592000, public"
        packed = client.get(address, headers={"Accept-Encoding": "gzip, deflate, br"})
        sent = b"".join(packed.streaming_content)  # type: ignore[attr-defined]
        if len(body) >= 1024:
            assert packed["Content-Encoding"] == "gzip", address
            assert gzip.decompress(sent) == body
            assert len(sent) < len(body) / 1.5
            assert "Accept-Encoding" in packed["Vary"]


def test_the_packed_copies_are_private_to_the_installation() -> None:
    Client().get("/accounts/login/")
    folder = Path(settings.EXCHEQUER.home) / "run" / "static"
    assert folder.stat().st_mode & 0o077 == 0
    assert not [file for file in folder.iterdir() if file.suffix != ".gz"]


def test_a_start_removes_the_packed_copies_that_no_file_has_any_more() -> None:
    Client().get("/accounts/login/")
    folder = Path(settings.EXCHEQUER.home) / "run" / "static"
    kept = set(folder.iterdir())
    assert kept
    for name in ("0123456789.css.gz", "9876543210.js.gz"):
        (folder / name).write_bytes(gzip.compress(b"of last year"))
    Client().get("/accounts/login/")
    assert set(folder.iterdir()) == kept
