"""What a job is called, which billing knows by its id alone: an upper room says so when Django starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from uuid import UUID

Namer = Callable[[Iterable[UUID]], Mapping[UUID, str]]

_namers: list[Namer] = []


def register(namer: Namer) -> None:
    """Add a room's way to name the jobs of the open scope."""
    if namer not in _namers:
        _namers.append(namer)


def job_names(ids: Iterable[UUID | None]) -> dict[UUID, str]:
    """Return the names of those of these jobs that a room knows."""
    wanted = {one for one in ids if one is not None}
    return {found: name for namer in _namers for found, name in namer(wanted).items()} if wanted else {}
