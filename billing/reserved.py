"""Names that events from outside may not take: what upper rooms account for under their own hand.

A room says at start which sources and which kinds of resource (`job:<id>`) are its own, so that nobody who may send
usage can write lines that look as if the platform had measured them.
"""

from __future__ import annotations

from collections.abc import Iterable

_sources: set[str] = set()
_prefixes: set[str] = set()


def reserve(*, source: str = "", prefixes: Iterable[str] = ()) -> None:
    """Keep a source of usage, and the prefixes of resources, for the platform itself."""
    if source:
        _sources.add(_plain(source))
    _prefixes.update(map(_plain, prefixes))


def reserved_fault(source: str, resource: str) -> str | None:
    """Say why usage from outside cannot come from this source or be of this resource; None when it can."""
    if _plain(source) in _sources:
        return f"source: “{source.strip()}” is kept for what the platform itself measures; name your own system"
    prefix, colon, _ = resource.partition(":")
    if colon and _plain(prefix) in _prefixes:
        return f"subject: “{prefix.strip()}:” is kept for what the platform itself measures; choose another prefix"
    return None


def _plain(text: str) -> str:
    return text.strip().casefold()
