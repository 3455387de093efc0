"""What a deployment would change for clients of a live endpoint: its version and its input columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from models_app.access import visible_endpoints, visible_versions
from models_app.models import EndpointState
from tenants.access.actor import Actor

MOST_NAMED = 8


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Differences between the inputs of two versions, by name: a column of another type is `retyped`."""

    added: tuple[str, ...]
    gone: tuple[str, ...]
    retyped: tuple[str, ...]

    def __bool__(self) -> bool:
        """Return whether they differ at all."""
        return bool(self.added or self.gone or self.retyped)

    def __str__(self) -> str:
        """Describe the difference: `added a, b; gone c; of another type d`."""
        parts = (("added", self.added), ("gone", self.gone), ("of another type", self.retyped))
        return "; ".join(f"{word} {_named(names)}" for word, names in parts if names)


@dataclass(frozen=True, kw_only=True)
class Replaced:
    """A live endpoint that a deployment would move from the version `before` to `after`."""

    name: str
    version_id: UUID
    before: str
    after: str
    columns: Columns


def differing(before: Mapping[str, str], after: Mapping[str, str]) -> Columns:
    """Return how two sets of columns (name -> type) differ, in their own order."""
    return Columns(
        added=tuple(name for name in after if name not in before),
        gone=tuple(name for name in before if name not in after),
        retyped=tuple(name for name, kind in after.items() if before.get(name, kind) != kind),
    )


def inputs_of(signature: Mapping[str, Any]) -> dict[str, str]:
    """Return the input columns of a version, name -> type."""
    return {one["name"]: one["kind"] for one in signature.get("inputs", [])}


def replaced(actor: Actor, name: str, version_id: UUID) -> Replaced | None:
    """Return what deploying a version under this name would replace.

    None for a free name or the version it already has. None also for an endpoint hidden from the actor.
    """
    seen = visible_endpoints(actor).filter(name=name)
    live = seen.exclude(state=EndpointState.UNDEPLOYED).select_related("version", "version__model").first()
    version = visible_versions(actor).select_related("model").filter(id=version_id).first()
    if live is None or version is None or live.version_id == version.id:
        return None
    columns = differing(inputs_of(live.version.signature), inputs_of(version.signature))
    return Replaced(
        name=name, version_id=live.version_id, before=str(live.version), after=str(version), columns=columns
    )


def _named(names: tuple[str, ...]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
