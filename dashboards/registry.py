"""The Dash apps, each built once per process, on first use.

Built late, because importing Dash takes a second that no management command should pay; under a lock, because two first
requests must not build it twice.
"""

from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dashboards.bridge import BridgedDash

#: The page's slug, and its required permission.
PAGES = {"spend": "spend.view", "health": "endpoints.view"}

_apps: dict[str, "BridgedDash"] = {}
_lock = Lock()


def find(slug: str) -> "BridgedDash | None":
    """Return the app of this slug, or None."""
    if slug not in PAGES:
        return None
    with _lock:
        if slug not in _apps:
            _apps[slug] = _health() if slug == "health" else _spend()
        return _apps[slug]


def _spend() -> "BridgedDash":
    from dashboards import bridge
    from dashboards.spend import callbacks, layouts

    return bridge.make(
        "spend",
        title="Spend and utilisation",
        template="dashboards/dash.html",
        layout=layouts.spend(),
        callbacks=callbacks.register,
    )


def _health() -> "BridgedDash":
    from dashboards import bridge
    from dashboards.health import callbacks, layout

    return bridge.make(
        "health",
        title="Model health",
        template="dashboards/health.html",
        layout=layout.health(),
        callbacks=callbacks.register,
    )
