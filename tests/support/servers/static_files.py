"""One listing of the static files for all test clients of a process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from config import statics


def list_once(patch: pytest.MonkeyPatch) -> None:
    """Let all test clients of one state folder share what the first one lists: each builds the middleware again."""
    listed: dict[Path, tuple[dict[str, Any], set[Path]]] = {}
    list_files = statics.Middleware.add_files_from_finders

    def shared(middleware: Any) -> None:
        if statics._folder() not in listed:
            list_files(middleware)
            listed[statics._folder()] = middleware.files, middleware._copies
        middleware.files, middleware._copies = listed[statics._folder()]

    patch.setattr(statics.Middleware, "add_files_from_finders", shared)
