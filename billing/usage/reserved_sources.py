"""Names that events from outside may not take: what upper rooms account for under their own hand.

A room says at start which sources and which kinds of resource (`job:<id>`) are its own, so that nobody who may send
usage can write lines that look as if the platform had measured them. Names are compared by what they look like.
"""

from __future__ import annotations

from collections.abc import Iterable

from tenants.lookalikes import hides, imitates, plain_colons

_sources: set[str] = set()
_prefixes: set[str] = set()


def reserve(*, source: str = "", prefixes: Iterable[str] = ()) -> None:
    """Keep a source of usage, and the prefixes of resources, for the platform itself."""
    if source:
        _sources.add(source)
    _prefixes.update(prefixes)


def own_sources() -> list[str]:
    """Return the sources that the platform measures under; usage of any other was reported from outside."""
    return ["", *sorted(_sources)]


def reserved_fault(source: str, resource: str) -> str | None:
    """Say why usage from outside cannot come from this source or be of this resource; None when it can."""
    if imitates(source, _sources):
        return f"source: “{source.strip()}” is kept for what the platform itself measures; name your own system"
    prefix, colon, _ = plain_colons(resource).partition(":")
    if colon and imitates(prefix, _prefixes):
        return f"subject: “{prefix.strip()}:” is kept for what the platform itself measures; choose another prefix"
    for name, text in (("source", source), ("subject", resource)):
        if hides(text):
            return f"{name}: leave out what cannot be seen and what turns the direction of writing"
    return None
