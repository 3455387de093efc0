"""Search of Ctrl-K: jobs, datasets, models and endpoints by part of their name, if visible to the reader."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from compute import queries as jobs
from models_app import queries as models
from tenants.access.actor import Actor

MOST_OF_A_KIND = 5
LONGEST = 100


@dataclass(frozen=True)
class Found:
    """One search result. `page`: the name of its route, which takes the id."""

    kind: str
    icon: str
    page: str
    id: UUID
    name: str
    note: str


def find(actor: Actor, text: str) -> list[Found]:
    """Return the newest objects of each kind whose name contains the text; empty for empty text."""
    if not text:
        return []
    found: list[Found] = []
    if actor.can_somewhere("jobs.view"):
        rows = jobs.job_list(jobs.JobFilter(text=text), limit=MOST_OF_A_KIND)[:MOST_OF_A_KIND]
        found += [Found("Job", "list-check", "job", row.id, row.name, row.state) for row in rows]
    if actor.can_somewhere("datasets.view"):
        tables = models.dataset_list(actor, name=text, limit=MOST_OF_A_KIND)[:MOST_OF_A_KIND]
        found += [Found("Dataset", "database", "dataset", row.id, row.name, f"v{row.latest.number}") for row in tables]
    if actor.can_somewhere("models.view"):
        learnt = models.model_list(actor, name=text, limit=MOST_OF_A_KIND)[:MOST_OF_A_KIND]
        found += [Found("Model", "box", "model", row.id, row.name, f"v{row.latest.number}") for row in learnt]
    if actor.can_somewhere("endpoints.view"):
        served = models.endpoint_list(actor, name=text, limit=MOST_OF_A_KIND)[:MOST_OF_A_KIND]
        found += [Found("Endpoint", "bolt", "endpoint", row.id, row.name, row.state) for row in served]
    return found
