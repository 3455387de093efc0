"""The Dash apps there are, each built once per process, on first use.

Built late, because importing Dash costs a second that no management command should pay; under a lock, because
two first requests must not build it twice.
"""

from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dashboards.bridge import BridgedDash

SLUGS = frozenset({"spend"})

_apps: dict[str, "BridgedDash"] = {}
_lock = Lock()


def find(slug: str) -> "BridgedDash | None":
    """Return the app of this slug, or None when there is no such page."""
    if slug not in SLUGS:
        return None
    with _lock:
        if slug not in _apps:
            from dashboards import bridge, callbacks, layouts

            _apps[slug] = bridge.make(
                slug,
                title="Spend and utilisation",
                template="dashboards/dash.html",
                layout=layouts.spend(),
                callbacks=callbacks.register,
            )
        return _apps[slug]
