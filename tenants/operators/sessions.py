"""Sessions of the console: Django's store on a table that no tenant's process reaches."""

from __future__ import annotations

from typing import Any

from tenants.identity.sessions import StoreWithPerson
from tenants.models import OperatorSession


class SessionStore(StoreWithPerson):
    """The store of operators' sessions."""

    @classmethod
    def get_model_class(cls) -> type[OperatorSession]:
        """Return the console's table."""
        return OperatorSession


def end_others(user_id: Any, cookie: str | None) -> None:
    """End an operator's sessions but one."""
    OperatorSession.objects.filter(user_id=user_id).exclude(session_key=cookie or "").delete()
