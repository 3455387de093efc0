"""What a scope held of late: the average number of devices, in which a day ago counts half as much as now."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

HALF_LIFE_S = 86_400.0


class History:
    """The decayed averages of some scopes, in devices."""

    def __init__(self) -> None:
        self._past: dict[Hashable, float] = {}

    def add(self, held: Mapping[Hashable, float], seconds: float) -> None:
        """Count what each scope held for so many seconds; a scope that is not named held nothing."""
        kept = 2 ** (-seconds / HALF_LIFE_S)
        for scope in self._past.keys() | held.keys():
            self._past[scope] = self._past.get(scope, 0.0) * kept + held.get(scope, 0.0) * (1 - kept)

    def of(self, scope: Hashable) -> float:
        """Return the devices that a scope held on average of late."""
        return self._past.get(scope, 0.0)
