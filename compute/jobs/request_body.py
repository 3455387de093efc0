"""Convert a request's JSON to arguments of `jobs.submit`.

Compute's own fields are validated here, the rest by the kind.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from billing.rating.quantity import share_of
from compute.jobs.job_request import Submission
from compute.jobs.kept import More
from tenants.errors import Invalid
from tenants.models import Project
from tenants.projects.sight import named
from tenants.web.body_fields import is_plain_number

OWN = frozenset(
    {
        "name",
        "kind",
        "project",
        "device_class",
        "devices",
        "share",
        "one_node",
        "node_labels",
        "tier",
        "max_seconds",
        "max_cost",
        "tags",
        "quote",
    }
    | {"request_more"}
)


def submission(body: dict[str, Any]) -> Submission:
    """Return what a request asks for; raises Invalid that names every wrong field."""
    faults: dict[str, list[str]] = {}
    request: dict[str, Any] = {"spec": {key: value for key, value in body.items() if key not in OWN}}
    for name, default in (("name", ""), ("kind", "train"), ("device_class", "cpu"), ("tier", "on_demand")):
        value = body.get(name, default)
        if not isinstance(value, str):
            faults[name] = ["Give a text."]
        request[name] = value
    for name, default_number in (("devices", 1), ("max_seconds", None)):
        number = body.get(name, default_number)
        if number is None and default_number is None:  # the estimate sets it
            request[name] = None
            continue
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 2**31:
            faults[name] = ["Give a whole number from 1 to 2147483647."]
        request[name] = number
    share = body.get("share", "1")
    request["share"] = share_of(share) if isinstance(share, str) else None
    if request["share"] is None:
        faults["share"] = ["Give a part of a device as a text, such as 1/2; 1 is a whole one."]
    request["one_node"] = body.get("one_node", True)
    if not isinstance(request["one_node"], bool):
        faults["one_node"] = ["Give true or false."]
    try:
        request["max_cost"] = amount(body.get("max_cost"))
    except Invalid as fault:
        faults |= fault.fields
    for name in ("tags", "node_labels"):
        texts = body.get(name) or {}
        if not isinstance(texts, dict) or not all(isinstance(value, str) for value in texts.values()):
            faults[name] = ["Give an object of texts."]
        request[name] = texts
    for name, key in (("project", "project_id"), ("quote", "quote_id")):
        try:
            request[key] = _reference(name, body.get(name))
        except Invalid as fault:
            faults |= fault.fields
    try:
        request["more"] = _more(body.get("request_more"))
    except Invalid as fault:
        faults |= fault.fields
    if faults:
        raise Invalid(fields=faults)
    return Submission(**request)


def _more(value: Any) -> More | None:
    """Return what to ask for if a budget or a quota refuses the launch. Raises Invalid."""
    if value is None:
        return None
    known = isinstance(value, dict) and set(value) <= {"reason", "amount", "limit", "this_month"}
    if not known or not isinstance(value.get("reason"), str) or not isinstance(value.get("this_month", True), bool):
        text = "Give an object with `reason`, and if you like `amount` or `limit`, and `this_month` (true or false)."
        raise Invalid(fields={"request_more": [text]})
    limit = value.get("limit")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or not 0 < limit < 2**31):
        raise Invalid(fields={"request_more": ["Give the limit as a whole number, such as 40."]})
    try:
        asked = amount(value.get("amount"))
    except Invalid:
        raise Invalid(fields={"request_more": ["Give the amount as a number, such as 250.00."]}) from None
    return More(reason=value["reason"], amount=asked, limit=limit, this_month=value.get("this_month", True))


def amount(value: Any) -> Decimal | None:
    """Return an amount given as text, number or money object; None for none. Raises Invalid."""
    if isinstance(value, dict):
        value = value.get("amount")
    if value is None or value == "":
        return None
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise InvalidOperation
        if isinstance(value, str) and not is_plain_number(value):
            raise InvalidOperation
        number = Decimal(str(value))
        if not number.is_finite() or number.adjusted() > 20 or int(number.as_tuple().exponent) < -12:
            raise InvalidOperation
    except InvalidOperation:
        raise Invalid(fields={"max_cost": ["Give an amount, such as 2.50."]}) from None
    return number


def project_of(value: Any) -> UUID:
    """Return the id of a project that the reader may name, given by id or slug. Raises Invalid."""
    projects = Project.objects.filter(named("id"))
    try:
        found = projects.filter(id=UUID(str(value)))
    except ValueError:
        found = projects.filter(slug=str(value))
    project_id = found.values_list("id", flat=True).first()
    if project_id is None:
        raise Invalid(fields={"project": ["There is no such project."]})
    return project_id


def _reference(name: str, value: Any) -> UUID | None:
    """Return an id; the project defaults to `default`."""
    if name == "project":
        return project_of("default" if value is None else value)
    if value is None:
        return None
    try:
        return UUID(str(value))
    except ValueError:
        raise Invalid(fields={name: ["Give an id."]}) from None
