"""The table of sessions: whose they are and which tenant they are in, so that one statement can enter by them."""

from importlib import import_module
from typing import Any, ClassVar, Self

from django.conf import settings
from django.contrib.sessions.base_session import AbstractBaseSession, BaseSessionManager
from django.db import models

from tenants.clock import DatabaseNow

#: What a session's row takes over whenever it is saved.
KEPT_CURRENT = ("session_data", "expire_date", "user_id", "tenant_slug", "ip", "user_agent")


class Session(AbstractBaseSession):
    """A browser's session. `user_id` and `tenant_slug` repeat what the signed data says; they decide nothing alone.

    `ip` and `user_agent` are those of the log-in, for the person's own list of sessions.
    """

    user_id = models.UUIDField(null=True)
    tenant_slug = models.CharField(max_length=50, blank=True)
    ip = models.CharField(max_length=45, blank=True)
    user_agent = models.CharField(max_length=254, blank=True)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    objects: ClassVar[BaseSessionManager[Self]] = BaseSessionManager()

    class Meta(AbstractBaseSession.Meta):
        indexes = [models.Index(fields=["user_id"], name="session_user")]

    def save(self, *args: Any, **options: Any) -> None:
        """Save the row; one that exists keeps the time at which it was opened."""
        if options.get("force_update"):
            options["update_fields"] = KEPT_CURRENT
        super().save(*args, **options)

    @classmethod
    def get_session_store_class(cls) -> type:
        """Return the store of these rows."""
        store: type = import_module(settings.SESSION_ENGINE).SessionStore
        return store
