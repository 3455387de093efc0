"""The demo: two organisations with one person a role, a budget and a quota, all through the real operations."""

from decimal import Decimal
from uuid import UUID

from django.db import transaction

from billing import budgets
from tenants import bootstrap, operations, queries, quotas
from tenants.scoping import tenant_scope

PASSWORD = "exchequer-demo"  # noqa: S105 (printed at start; the demo is off in production)
ORGANISATIONS = (("Vision Lab", "vision", "Europe/Berlin"), ("Audio Works", "audio", "Europe/Lisbon"))
PEOPLE = (
    ("owner", "Olga Owner"),
    ("admin", "Adam Admin"),
    ("finance", "Fiona Finance"),
    ("engineer", "Emil Engineer"),
    ("viewer", "Vera Viewer"),
)


def email_of(role: str, slug: str) -> str:
    """Return the address of a role's person: `engineer@vision.example`."""
    return f"{role}@{slug}.example"


def load() -> list[str]:
    """Create what is absent, each organisation whole or not at all; return the short names of those that were made."""
    made = []
    for name, slug, timezone in ORGANISATIONS:
        if queries.tenant_by_slug(slug) is not None:
            continue
        with transaction.atomic():
            tenant = bootstrap.create(
                name=name,
                slug=slug,
                email=email_of("owner", slug),
                password=PASSWORD,
                timezone=timezone,
                with_key=False,
            )
            bootstrap.settle_in(tenant.tenant_id)
            furnish(tenant.tenant_id, slug)
        made.append(slug)
    return made


def furnish(tenant_id: UUID, slug: str) -> None:
    """Add people, a second project, a budget and a quota."""
    owner = bootstrap.owner_of(tenant_id)
    with tenant_scope(tenant_id):
        for role, person in PEOPLE[1:]:
            operations.add_member(actor=owner, email=email_of(role, slug), role=role, password=PASSWORD, name=person)
        research = operations.create_project(actor=owner, slug="research", name="Research")
        quotas.set_limit(actor=owner, resource="devices:cpu", limit=8)
        budgets.create_budget(
            actor=owner, project_id=research.id, amount=Decimal(50), alerts=[50, 80], at_limit="block_new"
        )
