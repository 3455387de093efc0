"""Read endpoints: version, state, slot, audience and cost so far."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Count, Q, QuerySet

from billing.money import Money
from billing.queries.billed import CURRENCY, charged_sql
from compute.allocations import allocations
from compute.allocations.allocations import SlotRow
from models_app.access import visible_endpoints
from models_app.models import Endpoint, EndpointKey, EndpointState
from tenants.access.actor import Actor
from tenants.errors import Invalid, NotFound
from tenants.isolation.pages import rows_of_page
from tenants.isolation.scoping import tenant_scope

SLOT = tuple(SlotRow.__dataclass_fields__)
LIST = f"""
SELECT e.id, e.name, e.state, e.cause, e.message, v.model_id, model.name AS model, e.version_id, v.number AS version, v.recipe,
    e.project_id, project.slug AS project, project.name AS project_name, e.slo_ms, e.tags, e.generation, e.created_by_label,
    e.created_at, e.deployed_at, e.undeployed_at, ({{currency}}) AS currency, charge.amount,
    {", ".join(f"slot.{name} AS slot_{name}" for name in SLOT)}
FROM page JOIN models_app_endpoint e ON e.id = page.id
JOIN models_app_modelversion v ON v.id = e.version_id
JOIN models_app_model model ON model.id = v.model_id
JOIN tenants_project project ON project.id = e.project_id
LEFT JOIN ({{slots}}) slot ON slot.subject = 'endpoint:' || e.id
LEFT JOIN ({{charges}}) charge ON charge.id = 'endpoint:' || e.id ORDER BY page.n
"""  # noqa: S608
SUBJECTS = "ARRAY(SELECT 'endpoint:' || id FROM page)"


@dataclass(frozen=True, kw_only=True)
class EndpointRow:
    """One endpoint. `answers`: it has a slot and its node reported it ready; otherwise `message` says why not.

    `cause`: why it is stopped: `budget`, `suspended`, `refused`. `cost`: of its requests and its slot time so far; `keys`: number of valid
    keys.
    """

    id: UUID
    name: str
    state: str
    message: str
    cause: str
    answers: bool
    model_id: UUID
    model: str
    version_id: UUID
    version: int
    recipe: str
    project_id: UUID
    project: str
    project_name: str
    slo_ms: int
    tags: Mapping[str, str]
    generation: int
    keys: int
    cost: Money
    created_by_label: str
    created_at: datetime
    deployed_at: datetime
    undeployed_at: datetime | None
    slot: SlotRow | None

    @property
    def version_label(self) -> str:
        """Return the display name of the version."""
        return f"{self.model} v{self.version}"

    @property
    def live(self) -> bool:
        """Return whether it is not undeployed."""
        return self.state != EndpointState.UNDEPLOYED

    @property
    def node(self) -> str:
        """Which node holds its slot; empty where none does."""
        return self.slot.node if self.slot is not None and self.live else ""

    @property
    def predict_path(self) -> str:
        """Return its path on the serving node."""
        return f"/v1/models/{self.name}:predict"

    @property
    def infer_path(self) -> str:
        """Return its path of the Open Inference Protocol."""
        return f"/v2/models/{self.name}/infer"


@dataclass(frozen=True, kw_only=True)
class EndpointKeyRow:
    """One key of an endpoint, without its secret."""

    id: UUID
    name: str
    prefix: str
    requests_per_minute: int | None
    created_by_label: str
    created_at: datetime
    revoked_at: datetime | None
    expires_at: datetime | None
    last_used_at: datetime | None


def endpoint_list(
    actor: Actor, *, name: str = "", states: Sequence[str] = (), before: UUID | None = None, limit: int = 50
) -> list[EndpointRow]:
    """Return up to `limit` + 1 endpoints, newest first, older than `before`; the extra one shows that there are more.

    `name`: only those whose name contains this text. Endpoints of models from datasets hidden from the actor are left
    out. Raises Invalid.
    """
    unknown = sorted(set(states) - set(EndpointState.values))
    if unknown:
        raise Invalid(fields={"state": [f"Choose among: {', '.join(EndpointState.values)}."]})
    rows = _seen(actor)
    if name:
        rows = rows.filter(name__icontains=name)
    if states:
        rows = rows.filter(state__in=states)
    if before is not None:
        rows = rows.filter(id__lt=before)
    return _rows(rows.order_by("-id")[: limit + 1])


def endpoint_detail(actor: Actor, endpoint_id: UUID) -> EndpointRow:
    """Return one endpoint. Raises NotFound."""
    found = _rows(_seen(actor).filter(id=endpoint_id))
    if not found:
        raise NotFound
    return found[0]


def endpoint_keys(actor: Actor, endpoint_id: UUID) -> list[EndpointKeyRow]:
    """Return an endpoint's valid keys, newest first; at most a hundred. Raises NotFound."""
    if not _seen(actor).filter(id=endpoint_id).exists():
        raise NotFound
    names = tuple(EndpointKeyRow.__dataclass_fields__)
    rows = EndpointKey.objects.filter(EndpointKey.good(), endpoint_id=endpoint_id).order_by("-id")
    return [EndpointKeyRow(**row) for row in rows.values(*names)]


def _seen(actor: Actor) -> QuerySet[Endpoint]:
    return visible_endpoints(actor)


def endpoint_of(tenant_id: UUID, allocation_id: UUID) -> UUID | None:
    """Return the endpoint that a slot serves; None if it serves none."""
    with tenant_scope(tenant_id):
        return Endpoint.objects.filter(allocation_id=allocation_id).values_list("id", flat=True).first()


def endpoint_tags(ids: Collection[UUID]) -> dict[UUID, Mapping[str, str]]:
    """Return the tags of endpoints of the open scope, undeployed ones too."""
    return dict(Endpoint.objects.filter(id__in=ids).values_list("id", "tags"))


def _rows(endpoints: QuerySet[Endpoint]) -> list[EndpointRow]:
    parts = {"slots": allocations.slots_sql(SUBJECTS), "charges": charged_sql(SUBJECTS), "currency": CURRENCY}
    rows = rows_of_page(endpoints, LIST.format(**parts))
    good = EndpointKey.good() & Q(endpoint__in=[row.id for row in rows])
    keys = dict(EndpointKey.objects.filter(good).values_list("endpoint").annotate(number=Count("id")))
    return [_row(row, keys.get(row.id, 0)) for row in rows]


def _row(row: Any, keys: int) -> EndpointRow:
    slot = None if row.slot_id is None else SlotRow(**{name: getattr(row, f"slot_{name}") for name in SLOT})
    live = row.state != EndpointState.UNDEPLOYED
    waits = live and slot is not None and slot.waits
    return EndpointRow(
        id=row.id,
        name=row.name,
        state=row.state,
        cause=row.cause,
        message=row.message or (slot.reason if waits and slot is not None else ""),
        answers=row.state == EndpointState.READY and not waits,
        model_id=row.model_id,
        model=row.model,
        version_id=row.version_id,
        version=row.version,
        recipe=row.recipe,
        project_id=row.project_id,
        project=row.project,
        project_name=row.project_name,
        slo_ms=row.slo_ms,
        tags=json.loads(row.tags),
        generation=row.generation,
        keys=keys,
        cost=Money(row.amount or Decimal(0), row.currency),
        created_by_label=row.created_by_label,
        created_at=row.created_at,
        deployed_at=row.deployed_at,
        undeployed_at=row.undeployed_at,
        slot=slot,
    )
