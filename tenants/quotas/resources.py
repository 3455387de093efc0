"""The registry of resources that apps reserve, with their names and units."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal

from tenants.models import AT_ONCE, MONTH

Amount = int | Decimal
"""Some of a resource, in counted units: whole ones, or parts of one with up to three decimals."""


def counted(amount: Decimal) -> Amount:
    """Return an amount as the database has it, whole ones as integers."""
    return int(amount) if amount == int(amount) else amount.normalize()


@dataclass(frozen=True)
class Resource:
    """A resource that an app reserves: its name, its title, and how some of it becomes free.

    `period` says what a limit counts: what is held at once, or what is used in a local month. Work `waits` for room at
    once; otherwise it is refused. `unit` is how many of the counted units one shown unit has, named by `unit_words`:
    seconds are shown as hours. `of_projects`: whether the app says which project reserves.
    """

    name: str
    title: str
    relief: str = "Wait for running work to end"
    period: str = AT_ONCE
    waits: bool = False
    unit: int = 1
    unit_words: str = ""
    of_projects: bool = True

    @property
    def period_words(self) -> str:
        """Return what a limit counts, as pages say it."""
        return "a month" if self.period == MONTH else "at once"

    def shown(self, amount: Amount) -> int | float:
        """Return a counted amount in the shown unit, where it is not whole with two decimals, or three of a part."""
        found = amount if isinstance(amount, int) and self.unit == 1 else float(amount) / self.unit
        found = round(found, 3 if self.unit == 1 else 2)
        return int(found) if found == int(found) else found

    def said(self, amount: Amount) -> str:
        """Return an amount as text, with its unit: `12.5 hours`, `4`."""
        text = self.figure(amount)
        return f"{text} {self.unit_words}" if self.unit_words else text

    def figure(self, amount: Amount) -> str:
        """Return an amount as text, without its unit."""
        return f"{self.shown(amount):,}".replace(",", "\u202f")


Source = Callable[[], Iterable[Resource]]
_sources: list[Source] = []


def register(source: Source) -> None:
    """Register an app's resources, read in the open scope of one tenant."""
    if source not in _sources:
        _sources.append(source)


def resources() -> dict[str, Resource]:
    """Return every registered resource, by name."""
    return {known.name: known for source in _sources for known in source()}


def find(name: str) -> Resource:
    """Return a resource; a bare one if no app reserves it any more."""
    return resources().get(name, Resource(name, name))


def titles() -> dict[str, str]:
    """Return the title of each resource, by name."""
    return {name: known.title for name, known in resources().items()}


def title_of(name: str) -> str:
    """Return the title of a resource; its name if no app reserves it any more."""
    return find(name).title
