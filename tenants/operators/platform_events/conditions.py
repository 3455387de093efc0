"""What no transaction announces, such as a host that falls silent: looked for by the ops worker, and raised once each."""

from __future__ import annotations

from collections.abc import Callable

from tenants.isolation.sweeps import sweep

Look = Callable[[], None]
_looks: list[Look] = []


def register(look: Look) -> None:
    """Add a look: a few bounded statements, and `raise_event` for what they find, with `once`."""
    _looks.append(look)


def look() -> None:
    """Look for every registered condition (control role)."""
    with sweep("conditions") as each:
        for one in each.over(_looks):
            with each(condition=one.__module__):
                one()
