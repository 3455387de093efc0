"""Django's entry to the app."""

from django.apps import AppConfig


class TenantsConfig(AppConfig):
    name = "tenants"

    def ready(self) -> None:
        """Register the system checks, the kinds of credentials, the scheme of the API's keys, the emails, and the navigation's entries."""
        from tenants import bootstrap, checks, queries  # noqa: F401
        from tenants.approvals import access_requests, join_requests, leavers, quota_requests  # noqa: F401
        from tenants.audit import differences, withheld
        from tenants.grants import unseen  # noqa: F401
        from tenants.identity import api_keys, invitations  # noqa: F401
        from tenants.identity.providers import scim_tokens  # noqa: F401
        from tenants.notifications import emails, looks, signed_checkpoints, standing, topics  # noqa: F401
        from tenants.operators.platform_events import own_events as platform_events  # noqa: F401
        from tenants.web import navigation, openapi  # noqa: F401
        from tenants.web.navigation import ORGANISATION, NavigationEntry
        from tenants.webhooks import delivering, own_events  # noqa: F401

        differences.register(queries.people_and_projects)
        withheld.register_own()
        topics.register(
            "approvals", "Requests that wait for you, and answers to yours", "approval.waits", "approval.answered"
        )
        topics.register("leavers", "Members whom the identity provider removes", "leaver")
        topics.register("credentials", "Keys and tokens that expire soon", "credential_expires")
        topics.register("webhooks", "Webhooks that fail", "webhook_failing")
        topics.register(
            "audit_checkpoints", "Signed checkpoints of the audit log", signed_checkpoints.SIGNED, default=topics.OFF
        )
        topics.register("domains", "Domains whose TXT record is gone", "mail_domain")
        navigation.register(
            ORGANISATION,
            NavigationEntry("Members", "users", "members", "members.view", order=10),
            NavigationEntry("Access", "lock", "access", "members.view", order=15),
            NavigationEntry("Projects", "stack-2", "projects", "projects.view", order=20),
            NavigationEntry("Quotas", "gauge", "quotas", "quotas.view", "q", order=30),
            NavigationEntry("Approvals", "circle-check", "approvals", "approvals.view", order=35),
            NavigationEntry("API keys", "key", "api-keys-page", "apikeys.view", order=40),
            NavigationEntry("Webhooks", "world", "webhooks", "webhooks.manage", order=45),
            NavigationEntry("Log-in", "lock-open", "provider", "identity.view", order=47),
            NavigationEntry("Audit", "shield-check", "audit", "audit.view", "a", order=50),
            NavigationEntry("Settings", "settings", "settings", "tenant.view", "s", order=60),
        )
