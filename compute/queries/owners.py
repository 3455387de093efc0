"""Whose jobs are, for the chargeback of billing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from uuid import UUID

from billing.usage.owners import Owner
from compute.models import Job


def people_of(ids: Collection[UUID]) -> Mapping[UUID, Owner]:
    """Return who submitted each of these jobs: a person, or the program that did."""
    rows = Job.objects.filter(id__in=list(ids)).values_list("id", "submitted_by", "submitted_by_label")
    return {job: Owner(str(person or label), label) for job, person, label in rows}
