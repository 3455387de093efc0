"""The one table from role to permissions."""

from dataclasses import dataclass

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
    "usage.ingest",
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

#: What each role is for, in the words of the members page.
ROLE_WORDS = {
    "owner": "everything, the organisation itself included",
    "admin": "people, keys, quotas, money and work",
    "finance": "prices, budgets, invoices and the audit log",
    "engineer": "data, jobs, models and endpoints",
    "viewer": "looking only",
}


@dataclass(frozen=True)
class Purpose:
    """Something that a program is made for, and the permissions that this takes."""

    key: str
    label: str
    permissions: frozenset[str]


#: How people choose the scopes of an API key: by what the program is to do.
PURPOSES = (
    Purpose(
        "watch",
        "Watch jobs, models and endpoints",
        frozenset({"jobs.view", "models.view", "endpoints.view", "datasets.view", "devices.view", "recipes.view"}),
    ),
    Purpose(
        "launch",
        "Launch jobs, pause and cancel those it launched",
        frozenset({"jobs.launch", "jobs.cancel", "jobs.view", "datasets.view", "recipes.view", "projects.view", "devices.view"}),
    ),
    Purpose(
        "data",
        "Bring datasets and share them",
        frozenset({"datasets.create", "datasets.view", "datasets.share", "members.view"}),
    ),
    Purpose(
        "serve",
        "Promote models, deploy endpoints, send labels back",
        frozenset({"models.manage", "models.view", "endpoints.manage", "endpoints.view", "endpoints.feedback"}),
    ),
    Purpose(
        "send",
        "Send usage from outside",
        frozenset({"usage.ingest", "usage.view"}),
    ),
    Purpose(
        "report",
        "Read usage, spend, budgets and quotas",
        frozenset({"usage.view", "spend.view", "budgets.view", "quotas.view", "projects.view"}),
    ),
    Purpose(
        "bill",
        "Read invoices and prices, set budgets",
        frozenset({"invoices.view", "invoices.manage", "pricebooks.view", "pricebooks.manage", "budgets.view", "budgets.manage"}),
    ),
    Purpose("audit", "Read and export the audit log", frozenset({"audit.view", "audit.export"})),
    Purpose(
        "administer",
        "Administer people, keys, projects and quotas",
        frozenset(
            {
                "members.view", "members.manage", "apikeys.view", "apikeys.manage", "projects.view", "projects.manage",
                "quotas.view", "quotas.manage",
            }
        ),
    ),
)  # fmt: skip

#: What no purpose holds, since it acts on others' work or decides for the organisation: chosen one by one.
ALONE = {
    "jobs.cancel_any": "pause and cancel jobs that others launched",
    "models.approve": "approve or decline model versions",
    "datasets.view_restricted": "read datasets that are shared with named people only",
    "tenant.manage": "change the organisation’s name and time zone",
}


def may_assign(own: frozenset[str], role: str) -> bool:
    """Return whether one who has the permissions `own` may give or take `role`: nobody hands on what he does not have."""
    return ROLE_PERMISSIONS[role] <= own
