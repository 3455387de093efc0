"""EMAIL_URL becomes Django's settings, or an error that describes the format."""

from pathlib import Path

import pytest

from config.env import Environment
from config.mail import mail_settings

HOME = Path("/srv/exchequer")


def test_without_a_url_email_is_written_to_files_below_home() -> None:
    found = mail_settings("", HOME)
    assert found["EMAIL_BACKEND"] == "tenants.notifications.file_backend.FileBackend"
    assert found["EMAIL_FILE_PATH"] == HOME / "mail"
    assert mail_settings("file:///var/mail/out", HOME)["EMAIL_FILE_PATH"] == Path("/var/mail/out")


def test_a_password_may_hold_characters_of_a_url() -> None:
    found = mail_settings("smtp://ops:p%40ss%2Fword@mail.example.org:2525?starttls=1&from=ops@example.org", HOME)
    assert (found["EMAIL_HOST"], found["EMAIL_PORT"]) == ("mail.example.org", 2525)
    assert (found["EMAIL_HOST_USER"], found["EMAIL_HOST_PASSWORD"]) == ("ops", "p@ss/word")
    assert (found["EMAIL_USE_TLS"], found["EMAIL_USE_SSL"]) == (True, False)
    assert found["DEFAULT_FROM_EMAIL"] == "ops@example.org"


def test_smtps_speaks_tls_from_the_first_byte() -> None:
    found = mail_settings("smtps://mail.example.org", HOME)
    assert (found["EMAIL_PORT"], found["EMAIL_USE_SSL"], found["EMAIL_USE_TLS"]) == (465, True, False)
    assert 0 < found["EMAIL_TIMEOUT"] <= 60


@pytest.mark.parametrize(
    "url",
    [
        "mail.example.org",
        "http://mail.example.org",
        "smtp://",
        "smtp://ops@mail.example.org",
        "smtp://mail.example.org:port",
        "smtp://mail.example.org?starttls=yes",
        "smtps://mail.example.org?starttls=1",
        "smtp://mail.example.org?timeout=3",
        "smtp://mail.example.org?from=nobody",
        "file://folder",
    ],
)
def test_an_invalid_url_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ValueError, match=r"smtp|port"):
        mail_settings(url, HOME)
    with pytest.raises(ValueError, match="EMAIL_URL"):
        Environment(SECRET_KEY="x" * 40, EMAIL_URL=url)


def test_links_start_at_the_public_address_or_at_this_machine() -> None:
    key = "x" * 40
    assert (
        Environment(SECRET_KEY=key, EXCHEQUER_PUBLIC_URL="", EXCHEQUER_HTTP_PORT=8123).effective_public_url
        == "http://127.0.0.1:8123"
    )
    named = Environment(SECRET_KEY=key, EXCHEQUER_PUBLIC_URL="https://exchequer.example.org/")
    assert named.effective_public_url == "https://exchequer.example.org"
    for wrong in ("exchequer.example.org", "javascript:alert(1)", "https://a.example/?b", "https://"):
        with pytest.raises(ValueError, match="EXCHEQUER_PUBLIC_URL"):
            Environment(SECRET_KEY=key, EXCHEQUER_PUBLIC_URL=wrong)
