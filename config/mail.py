"""Email settings, read from one URL: a folder of `.eml` files unless a mail server is configured."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

SHAPE = "use smtp://user:password@host:587?starttls=1, smtps://user:password@host:465 or file:///folder"
PORTS = {"smtp": 25, "smtps": 465}
OPTIONS = frozenset({"starttls", "from"})
TIMEOUT_S = 15
DEFAULT_FROM = "Exchequer <noreply@localhost>"


def mail_settings(url: str, home: Path) -> dict[str, Any]:
    """Return Django's email settings. Raises ValueError that describes such a URL.

    `smtp` is plain text, or TLS after STARTTLS with `starttls=1`; `smtps` is TLS from the first byte. `from=` sets the
    sender. Default: files in `home`/mail.
    """
    parts = urlsplit(url or "file:")
    options = {name: values[-1] for name, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()}
    unknown = sorted(set(options) - OPTIONS)
    if unknown:
        raise ValueError(f"unknown option {', '.join(unknown)}; {SHAPE}")
    sender = {"DEFAULT_FROM_EMAIL": options.get("from", DEFAULT_FROM)}
    if any(letter in sender["DEFAULT_FROM_EMAIL"] for letter in "\r\n") or "@" not in sender["DEFAULT_FROM_EMAIL"]:
        raise ValueError(f"the sender is no address; {SHAPE}")
    if parts.scheme == "file":
        if parts.netloc:
            raise ValueError(f"a folder's path has three slashes; {SHAPE}")
        folder = Path(unquote(parts.path)) if parts.path else home / "mail"
        return {"EMAIL_BACKEND": "tenants.notifications.file_backend.FileBackend", "EMAIL_FILE_PATH": folder, **sender}
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError(SHAPE)
    if options.get("starttls", "0") not in ("0", "1"):
        raise ValueError(f"starttls is 0 or 1; {SHAPE}")
    if (parts.username is None) != (parts.password is None):
        raise ValueError(f"a user comes with a password; {SHAPE}")
    tls = parts.scheme == "smtps"
    if tls and options.get("starttls") == "1":
        raise ValueError(f"smtps speaks TLS already, leave out starttls; {SHAPE}")
    return {
        "EMAIL_BACKEND": "tenants.notifications.smtp.Backend",
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": parts.port or PORTS[parts.scheme],
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_SSL": tls,
        "EMAIL_USE_TLS": options.get("starttls") == "1",
        "EMAIL_TIMEOUT": TIMEOUT_S,
        **sender,
    }
