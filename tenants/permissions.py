"""The one table from role to permissions."""

VIEW = frozenset(
    {
        "tenant.view",
        "members.view",
        "projects.view",
        "quotas.view",
        "datasets.view",
        "recipes.view",
        "jobs.view",
        "usage.view",
        "spend.view",
        "models.view",
        "devices.view",
        "budgets.view",
        "endpoints.view",
    }
)
ENGINEER = VIEW | {
    "datasets.create",
    "datasets.share",
    "jobs.launch",
    "jobs.cancel",
    "models.manage",
    "endpoints.manage",
    "endpoints.feedback",
}
FINANCE = VIEW | {
    "pricebooks.view",
    "pricebooks.manage",
    "budgets.manage",
    "invoices.view",
    "invoices.manage",
    "audit.view",
    "audit.export",
}
ADMIN = (
    ENGINEER
    | FINANCE
    | {
        "members.manage",
        "apikeys.view",
        "apikeys.manage",
        "projects.manage",
        "quotas.manage",
        "jobs.cancel_any",
        "datasets.view_restricted",
        "models.approve",
    }
)
ROLE_PERMISSIONS: dict[str, frozenset[str]] = {
    "owner": ADMIN | {"tenant.manage"},
    "admin": ADMIN,
    "finance": FINANCE,
    "engineer": ENGINEER,
    "viewer": VIEW,
}
ROLES = tuple(ROLE_PERMISSIONS)
PERMISSIONS = ROLE_PERMISSIONS["owner"]


def may_assign(own: frozenset[str], role: str) -> bool:
    """Return whether one who has the permissions `own` may give or take `role`: nobody hands on what he does not have."""
    return ROLE_PERMISSIONS[role] <= own
