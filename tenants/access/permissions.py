"""The one table from built-in role to permissions."""

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
        "approvals.view",
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
    "approvals.request",
}
FINANCE = VIEW | {
    "pricebooks.view",
    "meters.manage",
    "budgets.manage",
    "invoices.view",
    "invoices.manage",
    "audit.view",
    "audit.export",
    "approvals.request",
    "approvals.answer",
}
ADMIN = (
    ENGINEER
    | FINANCE
    | {
        "audit.review",
        "members.manage",
        "apikeys.view",
        "apikeys.manage",
        "projects.manage",
        "quotas.manage",
        "jobs.cancel_any",
        "datasets.view_restricted",
        "projects.view_restricted",
        "models.approve",
        "webhooks.manage",
        "identity.view",
    }
)
AUDITOR = VIEW | {
    "apikeys.view",
    "identity.view",
    "pricebooks.view",
    "invoices.view",
    "audit.view",
    "audit.export",
    "audit.review",
}
#: The built-in roles. They are constants, so that a new permission needs no change of data.
ROLE_PERMISSIONS: dict[str, frozenset[str]] = {
    # Who configures the identity provider decides who is an owner: so no admin does.
    "owner": ADMIN | {"tenant.manage", "tenant.export", "identity.manage"},
    "admin": ADMIN,
    "finance": FINANCE,
    "engineer": ENGINEER,
    "auditor": AUDITOR,
    "viewer": VIEW,
}
ROLES = tuple(ROLE_PERMISSIONS)
PERMISSIONS = ROLE_PERMISSIONS["owner"]

#: What a grant in one project can give. Each is checked with its target's project (`Actor.require`); all others concern
#: the whole tenant.
#: What is read is what the project holds (`tenants/projects/sight.py`).
PROJECT_PERMISSIONS = frozenset(
    {
        "approvals.answer",
        "approvals.request",
        "approvals.view",
        "budgets.manage",
        "datasets.create",
        "datasets.share",
        "datasets.view",
        "devices.view",
        "endpoints.feedback",
        "endpoints.manage",
        "endpoints.view",
        "jobs.cancel",
        "jobs.cancel_any",
        "jobs.launch",
        "jobs.view",
        "models.approve",
        "models.manage",
        "models.view",
        "projects.view",
        "recipes.view",
        "tenant.view",
    }
)

#: What an operator who looks inside a tenant reads (`tenants/operators/glass`): its work, never money, keys or the audit log.
#: `tenant.view` opens pages of one's own account, and the overview, which is about money.
LOOK_INSIDE = VIEW - {"approvals.view", "budgets.view", "quotas.view", "spend.view", "tenant.view", "usage.view"}

#: What each role is for, as the members page shows it.
ROLE_WORDS = {
    "owner": "everything, including the organisation itself",
    "admin": "people, keys, quotas, money and work",
    "finance": "budgets, meters, invoices and the audit log",
    "engineer": "data, jobs, models and endpoints",
    "auditor": "read access to everything that is recorded, the audit log, which it reviews, keys and invoices included",
    "viewer": "read access to data, jobs, models and spend",
}


#: What each permission allows: for `.view` the object read, for `.manage` the object managed, else the action.
WORDS = {
    "usage.ingest": "report usage",
    "jobs.launch": "launch jobs",
    "jobs.cancel": "pause and cancel the jobs it launched",
    "datasets.create": "upload datasets",
    "datasets.share": "share datasets",
    "endpoints.feedback": "send ground truth",
    "audit.export": "export the audit log",
    "members.manage": "members",
    "apikeys.manage": "API keys",
    "projects.manage": "projects",
    "quotas.manage": "quotas",
    "models.manage": "models",
    "endpoints.manage": "endpoints",
    "budgets.manage": "budgets",
    "invoices.manage": "invoices",
    "meters.manage": "meters",
    "webhooks.manage": "webhooks",
    "jobs.view": "jobs",
    "datasets.view": "datasets",
    "models.view": "models",
    "endpoints.view": "endpoints",
    "recipes.view": "recipes",
    "devices.view": "devices",
    "projects.view": "projects",
    "members.view": "members",
    "apikeys.view": "API keys",
    "identity.view": "the identity provider",
    "usage.view": "usage",
    "spend.view": "spend",
    "budgets.view": "budgets",
    "quotas.view": "quotas",
    "invoices.view": "invoices",
    "pricebooks.view": "prices",
    "approvals.view": "approvals",
    "audit.view": "the audit log",
}


@dataclass(frozen=True)
class Preset:
    """A preset of scopes for a typical program."""

    key: str
    permissions: frozenset[str]

    @property
    def label(self) -> str:
        """Return exactly what the scopes allow, composed of the texts of each."""
        own = [(scope, words) for scope, words in WORDS.items() if scope in self.permissions]
        acts = [words for scope, words in own if not scope.endswith((".view", ".manage"))]
        managed = [words for scope, words in own if scope.endswith(".manage")]
        read = [words for scope, words in own if scope.endswith(".view")]
        clauses = [
            ", ".join(acts),
            f"manage {_listed(managed)}" if managed else "",
            f"read {_listed(read)}" if read else "",
        ]
        text = "; ".join(clause for clause in clauses if clause)
        return text[:1].upper() + text[1:]


def _listed(words: list[str]) -> str:
    return " and ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else words[0]


def _preset(key: str, *, of: str) -> Preset:
    return Preset(key, frozenset(of.split()))


#: Presets that people choose for an API key.
PRESETS = (
    _preset("watch", of="jobs.view models.view endpoints.view datasets.view devices.view recipes.view"),
    _preset("launch", of="jobs.launch jobs.cancel jobs.view datasets.view recipes.view projects.view devices.view"),
    _preset("data", of="datasets.create datasets.view datasets.share members.view"),
    _preset("serve", of="models.manage models.view endpoints.manage endpoints.view endpoints.feedback"),
    _preset("send", of="usage.ingest usage.view"),
    _preset("report", of="usage.view spend.view budgets.view quotas.view projects.view"),
    _preset("bill", of="invoices.view pricebooks.view budgets.view budgets.manage"),
    _preset("meter", of="usage.view meters.manage"),
    _preset("settle", of="invoices.view invoices.manage"),
    _preset("audit", of="audit.view audit.export identity.view"),
    _preset(
        "administer",
        of="members.view members.manage apikeys.view apikeys.manage projects.view projects.manage quotas.view quotas.manage approvals.view webhooks.manage",
    ),
)

#: In no preset, since they act on others' work or decide for the organisation: selected individually.
ALONE = {
    "jobs.cancel_any": "pause and cancel jobs that others launched",
    "models.approve": "approve or decline model versions",
    "audit.review": "record that the audit log was reviewed",
    "approvals.request": "ask for higher quotas and budgets",
    "approvals.answer": "answer requests of others",
    "datasets.view_restricted": "read restricted datasets",
    "projects.view_restricted": "read what is in restricted projects",
    "tenant.manage": "change the organisation’s settings",
    "tenant.export": "export everything that the organisation has stored",
    "identity.manage": "decide which identity provider says who people are, owners included",
}


def may_assign(own: frozenset[str], role: str) -> bool:
    """Return whether an actor with permissions `own` may grant or revoke `role`: nobody grants what they do not have."""
    return ROLE_PERMISSIONS[role] <= own
