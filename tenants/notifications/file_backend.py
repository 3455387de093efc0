"""Email without a mail server: one `.eml` file per email, written atomically, shown in the operator's area."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.utils import parsedate_to_datetime
from pathlib import Path

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

LARGEST = 256 * 1024
SECRET_LINK = re.compile(r"\S*/accounts/\S*", re.IGNORECASE)
HIDDEN = "[link not shown]"


@dataclass(frozen=True)
class StoredEmail:
    """One email of the folder. `sent_at` is None if its date cannot be parsed."""

    name: str
    to: str
    subject: str
    text: str
    sent_at: datetime | None


class FileBackend(BaseEmailBackend):
    """Writes emails to EMAIL_FILE_PATH. An email sent again replaces its first copy."""

    def send_messages(self, messages: Sequence[EmailMessage]) -> int:
        """Write each message; return how many."""
        folder = Path(settings.EMAIL_FILE_PATH)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for message in messages:
            email = message.message()
            name = hashlib.sha256(str(email["Message-ID"]).encode()).hexdigest()[:24]
            draft = folder / f".{name}.{os.getpid()}"
            draft.write_bytes(email.as_bytes())
            draft.replace(folder / f"{name}.eml")
        return len(messages)


def written_to_files() -> bool:
    """Return whether email goes to the folder and not to a server."""
    name: str = settings.EMAIL_BACKEND
    return name == f"{FileBackend.__module__}.{FileBackend.__name__}"


def stored_emails(limit: int = 50) -> list[StoredEmail]:
    """Return the newest emails of the folder, newest first; unreadable ones are skipped."""
    folder = Path(settings.EMAIL_FILE_PATH)
    files = sorted(folder.glob("*.eml"), key=_written_at, reverse=True) if folder.is_dir() else []
    return [email for file in files[:limit] if (email := _read(file)) is not None]


def without_links(text: str) -> str:
    """Return an email's text without links that grant access to their holder: invitations, new passwords."""
    return SECRET_LINK.sub(HIDDEN, text)


def _written_at(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _read(file: Path) -> StoredEmail | None:
    try:
        with file.open("rb") as opened:
            message = message_from_bytes(opened.read(LARGEST), policy=policy.default)
        body = message.get_body(("plain",))
        text = body.get_content() if body is not None else ""
        dated = parsedate_to_datetime(message["Date"]).astimezone(UTC) if message["Date"] else None
        return StoredEmail(file.stem, str(message["To"]), str(message["Subject"]), text, dated)
    except (OSError, ValueError, LookupError):
        return None
