"""The address of the page `Spend and utilisation`: the choices it holds, and where its rows lead."""

import json
from typing import Any
from urllib.parse import parse_qs, urlencode

from dash import html
from django.urls import reverse

from billing.queries import WITHHELD, page_of
from dashboards.ranges import CHOICES
from dashboards.spend import datasets, tables
from dashboards.spend.groupings import ORDERS, group_title, narrowed

DAYS = ("from", "to")
CONTROLS = ("range", "group", "second", "sort", *DAYS)
#: What the address holds: the choices, and what the followed rows narrow the page to.
KEPT = (*CONTROLS, "only")
LONGEST = 2000


def chosen(search: Any) -> dict[str, str]:
    """Return the known keys of the query string; the browser may send anything."""
    values: dict[str, str] = {}
    for name, texts in parse_qs(str(search or "").removeprefix("?")).items():
        if name in KEPT:
            values[name] = texts[-1][:LONGEST]
    if group_title(values.get("group", "")) is None:
        values["group"] = "project"
    if group_title(values.get("second", "")) is None:
        values.pop("second", "")
    if not narrowed(values):
        values.pop("only", "")
    if values.get("sort") not in ORDERS:
        values["sort"] = "cost"
    if values.get("range") not in CHOICES:
        values["range"] = "month"
    return values


def in_address(values: dict[str, str]) -> dict[str, str]:
    """Return the part of the choices that the address and the files have."""
    return {name: values[name] for name in KEPT if name in values and (name not in DAYS or is_custom(values))}


def is_custom(values: dict[str, str]) -> bool:
    """Return whether the range has custom days."""
    return values["range"] == "custom"


def job_url(row: datasets.CostRow, slug: str) -> str:
    """Return the URL of the job of a row, with its attempts and what each cost; empty without one."""
    return reverse("job", args=(slug, row.job_id)) if row.job_id else ""


def link_of(page: datasets.SpendPage, row: datasets.CostRow, slug: str, values: dict[str, str]) -> str:
    """Return where a row leads: to its job or resource, else to this page narrowed to its jobs, or without one its resources."""
    if row.job_id or "resource" in row.keys:
        return job_url(row, slug) or page_of(row.keys.get("resource") or "", slug)
    if WITHHELD in row.keys.values():
        return ""
    only = {**page.only, **row.keys}
    finer = "resource" if "job" in only else "job"
    kept = {name: value for name, value in in_address(values).items() if name not in ("group", "second")}
    return "?" + urlencode({**kept, "group": finer, "only": json.dumps(only)})


def narrowed_to(page: datasets.SpendPage, values: dict[str, str]) -> Any:
    """Return what the page is narrowed to, each with a link that takes it away."""
    if not page.only:
        return []
    kept = in_address(values)
    parts: list[Any] = [html.Span("Only:")]
    for group, label in page.only_labels.items():
        rest = {name: value for name, value in page.only.items() if name != group}
        left = {**kept, "only": json.dumps(rest)} if rest else {k: v for k, v in kept.items() if k != "only"}
        title = f"{group_title(group)}: {label}"
        parts.append(
            html.A(
                f"{title} \u00d7", href="?" + urlencode(left), className="x-tag", **tables.aria(label=f"Remove {title}")
            )
        )
    return parts
