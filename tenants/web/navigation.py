"""The sidebar: groups of links to pages. Each app registers its own when Django starts, for this app knows no page above it."""

from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from tenants.access.actor import Actor

MAIN, MONEY, ORGANISATION = "", "Money", "Organisation"
"""The titles of the groups, in their order; the first has none."""


@dataclass(frozen=True)
class NavigationEntry:
    """One link of the sidebar. `page` is a route, `order` its place in the group, `key` the second key of the `g` shortcut."""

    label: str
    icon: str
    page: str
    permission: str
    key: str = ""
    args: tuple[str, ...] = ()
    order: int = 0


@dataclass(frozen=True)
class Link:
    """An entry made into a link for one tenant. `number`: of what waits there, 0 shows none."""

    label: str
    icon: str
    url: str
    active: bool
    key: str
    number: int = 0


@dataclass
class _Homes:
    tenant: str = ""


_groups: dict[str, list[NavigationEntry]] = {MAIN: [], MONEY: [], ORGANISATION: []}
_homes = _Homes()


def register(group: str, *entries: NavigationEntry) -> None:
    """Add an app's entries to a group. Raises KeyError for a group that does not exist."""
    known = _groups[group]
    known.extend(entry for entry in entries if entry not in known)
    known.sort(key=lambda entry: entry.order)


def register_home(page: str) -> None:
    """Set the route of the page that an organisation opens with; it takes the tenant's slug."""
    _homes.tenant = page


def home_url(slug: str) -> str:
    """Return the address of the page that an organisation opens with. Paths of notifications are relative to it."""
    return reverse(_homes.tenant, args=(slug,))


def navigation(actor: Actor, slug: str, path: str) -> list[dict[str, Any]]:
    """Return the sidebar's groups with the links that `actor` may open; the page at `path` is active."""
    groups = []
    for title, entries in _groups.items():
        links = [_link(entry, slug, path) for entry in entries if actor.can(entry.permission)]
        if links:
            groups.append({"title": title, "entries": links})
    return groups


def _link(entry: NavigationEntry, slug: str, path: str) -> Link:
    url = reverse(entry.page, args=(slug, *entry.args))
    active = path == url or (entry.page != _homes.tenant and path.startswith(url))
    return Link(entry.label, entry.icon, url, active, entry.key)
