"""What usage can be summed by: the expression of each group over a roll-up `r`, its series `s`, meter `m` and project `p`.

Values that the reader may not see are one value, `WITHHELD`: named endpoints and models, tags and people of hidden jobs, and
everything of projects whose sums the reader does not see one by one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import connection

from billing import resource_names
from billing.resource_names import WITHHELD
from billing.usage import owners
from tenants.projects.sight import closed_ids, unnamed_ids

GROUPS = {
    "project": "r.project_id::text",
    "meter": "m.key",
    "resource": "s.resource",
    "job": "s.job_id::text",
    "attempt": "s.attempt_id::text",
}
LABEL = re.compile(r"(tag|dim):([A-Za-z0-9_.-]{1,60})")
DIMS = ("endpoint", "tier", "device_class")
#: The dimensions that people choose, and what usage without a value is called. Tags have names of their own.
TITLES = {
    "project": "Project",
    "person": "Person",
    "model": "Model",
    "endpoint": "Endpoint",
    "meter": "Meter",
    "tier": "Tier",
    "device_class": "Device class",
    "job": "Job",
}
WITHOUT = {
    "project": "Whole organisation",
    "meter": "Without a meter",
    "job": "Without a job",
    "tier": "Without a tier",
    "device_class": "Without a device class",
    "endpoint": "Without an endpoint",
    "person": "Nobody",
    "model": "Without a model",
}
UNTAGGED = "Untagged"
#: Whose usage of an owner is: that of its job, or without one that of its resource.
PLACE = "coalesce(s.job_id::text, s.resource)"


@dataclass(slots=True)
class Grouping:
    """The groups of one statement, which add what their expressions need to its `arguments`.

    `used`: a condition on roll-ups `r`, with its values among the arguments; owners are looked up for what it selects.
    `billed`: sums of an invoice, in which all projects are seen one by one, and hidden jobs are not. `whole`: sums for a rule,
    not for a reader. `names`: the names of the owners found, by group and key.
    """

    arguments: dict[str, Any]
    used: str
    billed: bool = False
    whole: bool = False
    names: dict[str, dict[str, str]] = field(default_factory=dict)
    places: Sequence[tuple[UUID | None, str]] | None = None

    def __post_init__(self) -> None:
        self.arguments |= {"unnamed": [] if self.billed else sorted(unnamed_ids()), "withheld": WITHHELD}

    def expression(self, name: str) -> str | None:
        """Return the SQL of a group's value; None for a group that there is not."""
        if name == "meter":
            return GROUPS[name]
        if name in GROUPS:
            unseen = self._unseen_job() if name == "job" and self.billed else ""
            return self.masked(self._withheld(unseen, GROUPS[name]))
        if name in owners.dimensions():
            return self.masked(self._withheld(self._unseen(), self._owner(name)))
        label = LABEL.fullmatch(f"dim:{name}" if name in DIMS else name)
        if label is None:
            return None
        kind, key = label.groups()
        value = f"(s.dims ->> {self.argument(f'tag:{key}' if kind == 'tag' else key)}::text)"
        if kind == "tag":
            return self.masked(self._withheld(self._unseen(), value))
        hidden = [] if self.whole else resource_names.withheld(key)
        unseen = f"{value} = ANY({self.argument(hidden)}::text[])" if hidden else ""
        return self.masked(self._withheld(unseen, value))

    def masked(self, value: str) -> str:
        """Return an expression that replaces a value in projects whose sums the reader does not see one by one."""
        return self._withheld("r.project_id = ANY(%(unnamed)s::uuid[])" if self.arguments["unnamed"] else "", value)

    def _withheld(self, unseen: str, value: str) -> str:
        return f"CASE WHEN {unseen} THEN %(withheld)s::text ELSE {value} END" if unseen else value

    def _unseen(self) -> str:
        """Return the condition of usage whose tags and people are hidden from the reader; empty for none."""
        if self.whole:
            return ""
        if "closed" not in self.arguments:
            self.arguments["closed"] = sorted(closed_ids("jobs.view"))
        closed = "r.project_id = ANY(%(closed)s::uuid[])" if self.arguments["closed"] else ""
        conditions = [self._unseen_job(), closed]
        return " OR ".join(filter(None, conditions))

    def _unseen_job(self) -> str:
        if self.whole:
            return ""
        if "hidden_jobs" not in self.arguments:
            self.arguments["hidden_jobs"] = resource_names.withheld(resource_names.JOB)
        return "s.job_id = ANY(%(hidden_jobs)s::uuid[])" if self.arguments["hidden_jobs"] else ""

    def _owner(self, name: str) -> str:
        """Return the SQL of whose usage is: one look-up for each kind of job or resource, and its answers as a map."""
        if self.places is None:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT DISTINCT s.job_id, CASE WHEN s.job_id IS NULL THEN s.resource ELSE '' END FROM billing_usageseries s JOIN "  # noqa: S608
                    f"(SELECT DISTINCT r.tenant_id, r.series_hash FROM billing_usagerollup r WHERE {self.used} OFFSET 0) u "
                    "ON s.tenant_id = u.tenant_id AND s.hash = u.series_hash",
                    self.arguments,
                )
                self.places = cursor.fetchall()
        found = owners.owners_of(name, self.places)
        self.names[name] = {owner.key: owner.name for owner in found.values()}
        known = json.dumps({str(job or resource): owner.key for (job, resource), owner in found.items()})
        return f"({self.argument(known)}::jsonb ->> {PLACE})"

    def argument(self, value: Any) -> str:
        """Add a value to the arguments and return its placeholder."""
        name = f"group{len(self.arguments)}"
        self.arguments[name] = value
        return f"%({name})s"
