"""One organisation of the demo: its people, projects, quota, budgets, and jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache, partial
from typing import Any
from uuid import UUID

from django.contrib.auth.hashers import make_password

from billing.budgets import budgets
from billing.pricing import contracts, publishing
from billing.rating.flat import charge
from compute.estimates.forecast import LogEstimate, forecast, start_up
from compute.fleet.nodes import Registered
from compute.jobs import jobs
from compute.models import Job
from config.demo.children import Done, Learned
from config.demo.organisations import OPERATOR, PASSWORD, Budgeted, Organisation
from config.demo.simulation import Simulation
from config.demo.tables import Tables
from models_app.datasets import ingestion
from models_app.object_store import storage
from models_app.registry import artefacts
from tenants import bootstrap, quotas
from tenants import operations as people
from tenants.access.actor import Actor
from tenants.identity import api_keys, members
from tenants.isolation.scoping import tenant_scope
from tenants.models import Project, User
from tenants.operators.operator import Operator

SELLER = Operator(id=UUID(int=0), label=OPERATOR, roles=("platform_finance",))
"""Who negotiates the demo's prices, before the operator's account is made."""
RUNS_BEFORE = 20
"""Number of runs that the demo's quotes claim as their basis."""


@cache
def shared_password() -> str:
    """Return the hash of the demo's password."""
    return make_password(PASSWORD)


@dataclass(eq=False)
class Company:
    """People and objects of an organisation; everything happens at its time on the simulation's clock."""

    one: Organisation
    tables: Tables
    learned: Learned
    simulation: Simulation
    slots: Registered
    seed: int = field(kw_only=True)
    days: int = field(kw_only=True)
    launched: int = field(default=0, init=False)
    refused: int = field(default=0, init=False)
    datasets: dict[str, UUID] = field(default_factory=dict, init=False)

    def found(self) -> None:
        """Create the organisation with its people, projects, quota, budgets and a key for its scripts."""
        one = self.one
        boss = one.people[0]
        people.find_or_create_user(email=one.email(boss), password=None, name=boss.name)
        wanted = bootstrap.Wanted(
            name=one.name, slug=one.slug, email=one.email(boss), timezone=one.timezone, currency=one.currency
        )
        made = bootstrap.create(wanted, with_key=False)
        self.tenant_id = made.tenant_id
        # A book of its own: each organisation lives through its days by itself, and so do its prices.
        book = publishing.create_book(
            operator=SELLER, name=f"{one.name}, negotiated", currency=one.currency, reason="Negotiated"
        )
        terms = contracts.ContractTerms(billing_name=one.name, country=one.country, tax_number=one.tax_number)
        contracts.open_first(actor=Actor.system(self.tenant_id, "operator"), book_id=book.pk, terms=terms)
        bootstrap.settle_in(self.tenant_id)
        owner = bootstrap.owner_of(self.tenant_id)
        self.actors = [owner]
        with tenant_scope(self.tenant_id):
            for at, person in enumerate(one.people[1:], 11):
                row = members.add_member(actor=owner, email=one.email(person), role=person.role, name=person.name)
                actor = Actor.member(
                    tenant_id=self.tenant_id, user_id=row.user_id, email=one.email(person), role=person.role
                )
                self.actors.append(replace(actor, ip=f"192.0.2.{at}"))
            for slug, name in one.projects:
                people.create_project(actor=owner, slug=slug, name=name)
            self.projects = dict(Project.objects.values_list("slug", "id"))
            api_keys.create_api_key(actor=owner, name="reporting", scopes=["jobs.view", "spend.view", "usage.view"])
        # One hash for everybody, since the password is public: hashing takes as long as a dozen jobs.
        emails = [one.email(person) for person in one.people]
        User.objects.filter(email__in=emails).update(password=shared_password())
        self.by("admin", lambda actor: quotas.set_limit(actor=actor, resource="devices:cpu", limit=one.quota))
        self.by("admin", lambda actor: quotas.set_limit(actor=actor, resource="devices:serving", limit=2))
        for budget in one.budgets:
            self.by("finance", partial(self._budget, budget))

    def by(self, role: str, act: Callable[[Actor], object]) -> None:
        """Run something as the first person of a role, in the organisation's scope."""
        with tenant_scope(self.tenant_id):
            act(self.first(role))

    def first(self, role: str) -> Actor:
        """Return the first person of a role."""
        return next(actor for actor in self.actors if actor.role == role)

    def _budget(self, wanted: Budgeted, actor: Actor) -> None:
        project = self.projects[wanted.project] if wanted.project else None
        budgets.create_budget(
            actor=actor, project_id=project, amount=wanted.amount, alerts=wanted.alerts, at_limit=wanted.at_limit
        )

    def submit(self, actor: Actor, name: str, project: str, params: dict[str, Any], limit: int) -> Job:
        """Submit a training job over the first table; the tenant's scope is open."""
        spec = {
            "recipe": self.one.recipe,
            "dataset_version": str(self.datasets[self.one.dataset]),
            "params": params,
            "model": self.one.model,
        }
        return jobs.submit(
            actor=actor,
            asked=jobs.Submission(
                name=name,
                kind="train",
                project_id=self.projects[project],
                spec=spec,
                device_class="cpu",
                max_seconds=limit,
                tags={"experiment": name.rpartition("-")[0] or name},
            ),
        )

    def ingest(self, version_id: UUID, child: Done) -> None:
        """Ingest a version as the ops worker does, with a child's output."""
        mine = ingestion.claim(version_id, self.tenant_id)
        if mine is None:
            raise RuntimeError(f"version {version_id} could not be claimed")
        key = storage.new_key(self.tenant_id, "d", mine.dataset_id, mine.version_id, mine.token)
        data = storage.put(
            self.tenant_id, key, child.out / "data.parquet", content_type="application/vnd.apache.parquet"
        )
        result, profile = (artefacts.read_json(child.out / part) for part in ("result.json", "profile.json"))
        ingestion.complete(
            actor=Actor.system(self.tenant_id, "ingest"), mine=mine, data=data, result=result, profile=profile
        )


def quote(job: Job, usual_s: float, spread: float) -> None:
    """Store the quote of a job as if similar jobs had been learnt from; the tenant's scope is open.

    The demo's jobs take minutes and hours where the recipe itself takes seconds, so no real quote could know.
    """
    said = forecast(
        usual_s, LogEstimate(0.0, spread**2, RUNS_BEFORE, RUNS_BEFORE), start_up(1), runs=RUNS_BEFORE, source="own"
    )
    least, most = (charge(Decimal(round(seconds)), job.unit_amount) for seconds in (said.least_s, said.most_s))
    Job.objects.filter(id=job.id).update(
        forecast=said.json(), typical_s=round(said.typical_s), quoted_least=least, quoted_most=most
    )
