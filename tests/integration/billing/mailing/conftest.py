"""A mail server on loopback that the product uses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import override_settings

from tests.support.servers.smtp import MailServer, mail_server


@pytest.fixture
def server() -> Iterator[MailServer]:
    """A mail server that the product uses."""
    from config.mail import mail_settings

    with mail_server() as running, override_settings(**mail_settings(running.url, Path())):
        yield running
