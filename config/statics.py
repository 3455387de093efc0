"""Static files for browsers: gzipped, under a URL that changes with their content."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
from functools import cache
from pathlib import Path
from typing import Any
from wsgiref.headers import Headers

from django.conf import settings
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import StaticFilesStorage
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile

#: Text files that are long enough to benefit.
PACKED = frozenset({".css", ".js", ".svg", ".json", ".csv", ".html", ".txt"})
LEAST_BYTES = 1024


class Storage(StaticFilesStorage):
    """Adds a content hash to each URL: browsers cache a file for long and still load a new one at once."""

    def url(self, name: str | None) -> str:
        """Return the URL of a file."""
        found = finders.find(name) if name else None
        return f"{super().url(name)}?v={_mark(found)}" if isinstance(found, str) else super().url(name)


class Middleware(WhiteNoiseMiddleware):  # type: ignore[misc]
    """Whitenoise over the folders of the apps, with a gzipped copy of each long text, made once, in the state folder."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        self._copies: set[Path] = set()
        super().__init__(*args, **settings)
        if self._copies:  # every file is known by now
            _remove_others(self._copies)

    def get_static_file(self, path: str, url: str, stat_cache: Any = None) -> StaticFile:
        """Return the file to serve: itself, or its gzipped copy to clients that accept one."""
        if Path(path).suffix not in PACKED or Path(path).stat().st_size < LEAST_BYTES:
            return super().get_static_file(path, url, stat_cache=stat_cache)
        headers = Headers([])
        self.add_mime_headers(headers, path, url)
        self.add_cache_headers(headers, path, url)
        copy = _packed(path)
        if copy is None:
            return StaticFile(path, headers.items())
        self._copies.add(copy)
        return StaticFile(path, headers.items(), encodings={"gzip": str(copy)})


def _folder() -> Path:
    return Path(settings.EXCHEQUER.home) / "run" / "static"


def _remove_others(copies: set[Path]) -> None:
    """Remove the copies of files that have changed or gone since; what cannot be removed stays."""
    with contextlib.suppress(OSError):
        for copy in _folder().glob("*.gz"):
            if copy not in copies:
                copy.unlink(missing_ok=True)


@cache
def _mark(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:10]


@cache
def _packed(path: str) -> Path | None:
    """Return the packed copy of a file; None where the state folder cannot be written: the file itself answers then."""
    copy = _folder() / f"{_mark(path)}{Path(path).suffix}.gz"
    try:
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft = copy.with_suffix(f".{os.getpid()}")
            draft.write_bytes(gzip.compress(Path(path).read_bytes(), 9, mtime=0))
            draft.replace(copy)
    except OSError:
        return None
    return copy
