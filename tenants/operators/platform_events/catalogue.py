"""The types of platform events: whom they concern, and who gets emails about them unless they chose otherwise."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PlatformEventType:
    """A type; `title` is a sentence for people, without names.

    Operators with the permission `reads` may get emails about it; those with `acts` get them unless they chose otherwise.
    """

    name: str
    title: str
    reads: str
    acts: str


_types: dict[str, PlatformEventType] = {}


def register(*types: PlatformEventType) -> None:
    """Add types."""
    _types.update({one.name: one for one in types})


def types() -> list[PlatformEventType]:
    """Return every type by name."""
    return sorted(_types.values(), key=lambda one: one.name)


def find(name: str) -> PlatformEventType | None:
    """Return a type; None if no app has it any more."""
    return _types.get(name)


def title_of(name: str) -> str:
    """Return the sentence of a type."""
    found = _types.get(name)
    return found.title if found else "Test event"
