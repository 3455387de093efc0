"""Signs of life of processes that listen on no port: files that `deploy.server.health` looks at."""

from __future__ import annotations

import contextlib
from pathlib import Path

from django.conf import settings


def beat(name: str) -> None:
    """Renew the time of `run/NAME.beat` in the home. What cannot be written (a full disk) is left: the check reports it."""
    file = Path(settings.EXCHEQUER.home) / "run" / f"{name}.beat"
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.touch()
