"""Names reserved for the platform, which reported events may not use.

An upper app reserves its sources and kinds of resource (`job:<id>`) at start, so that reported usage cannot look as if
the platform had measured it. Names are compared by their appearance.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from tenants.lookalikes import hides, imitates, plain_colons

_sources: set[str] = set()
_prefixes: set[str] = set()


def reserve(*, source: str = "", prefixes: Iterable[str] = ()) -> None:
    """Reserve a source of usage, and resource prefixes, for the platform."""
    if source:
        _sources.add(source)
    _prefixes.update(prefixes)
    reserved_fault.cache_clear()


def own_sources() -> list[str]:
    """Return the platform's own sources; usage of any other was reported from outside."""
    return ["", *sorted(_sources)]


@lru_cache(maxsize=4096)  # a sender names few, and names them in each event
def reserved_fault(source: str, resource: str) -> str | None:
    """Return why reported usage cannot have this source or resource; None if it can."""
    if imitates(source, _sources):
        return (
            f"source: “{source.strip()}” is reserved for usage that the platform measures; use the name of your system"
        )
    prefix, colon, _ = plain_colons(resource).partition(":")
    if colon and imitates(prefix, _prefixes):
        return f"subject: “{prefix.strip()}:” is reserved for usage that the platform measures; choose another prefix"
    for name, text in (("source", source), ("subject", resource)):
        if hides(text):
            return f"{name}: leave out invisible characters and those that change the writing direction"
    return None
