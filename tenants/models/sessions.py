"""The table of sessions: whose they are and which tenant they are in, so that one statement can enter by them."""

from importlib import import_module
from typing import Any, ClassVar, Self

from django.conf import settings
from django.contrib.sessions.base_session import AbstractBaseSession, BaseSessionManager
from django.db import models

from tenants.clock import DatabaseNow


class StoredSession(AbstractBaseSession):
    """A browser's session. `user_id` repeats what the signed data says; it decides nothing alone.

    `ip` and `user_agent` are those of the log-in, for the person's own list of sessions.
    """

    #: What the row takes over whenever it is saved.
    kept_current: ClassVar[tuple[str, ...]] = ("session_data", "expire_date", "user_id", "ip", "user_agent")

    user_id = models.UUIDField(null=True)
    ip = models.CharField(max_length=45, blank=True)
    user_agent = models.CharField(max_length=254, blank=True)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    objects: ClassVar[BaseSessionManager[Self]] = BaseSessionManager()

    class Meta(AbstractBaseSession.Meta):
        abstract = True

    def save(self, *args: Any, **options: Any) -> None:
        """Save the row; one that exists keeps the time at which it was opened."""
        if options.get("force_update"):
            options["update_fields"] = self.kept_current
        super().save(*args, **options)

    @classmethod
    def get_session_store_class(cls) -> type:
        """Return the store of these rows."""
        store: type = import_module(settings.SESSION_ENGINE).SessionStore
        return store


class Session(StoredSession):
    """A session of a tenant's person. `tenant_slug` is the tenant that it is in.

    One that a tenant's identity provider opened is bound to that tenant, and opens no other.
    """

    kept_current = (*StoredSession.kept_current, "tenant_slug", "bound_tenant")

    tenant_slug = models.CharField(max_length=50, blank=True)
    bound_tenant = models.UUIDField(null=True)

    class Meta(StoredSession.Meta):
        abstract = False
        indexes = [
            models.Index(fields=["user_id"], name="session_user"),
            models.Index(fields=["bound_tenant"], name="session_bound", condition=models.Q(bound_tenant__isnull=False)),
        ]
