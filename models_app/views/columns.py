"""How a dataset's columns are read: choices made on its page create the next version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from models_app import queries
from models_app.datasets import column_choices
from models_app.tables import writing
from models_app.views.datasets import dataset_page
from models_app.views.profile import words_of, written
from tenants.errors import Conflict, Invalid, NotFound
from tenants.web.requests import TenantRequest
from tenants.web.views import page


@require_http_methods(["GET", "HEAD", "POST"])
@page("datasets.create")
def dataset_columns(request: TenantRequest, dataset_id: UUID, data_version_id: UUID) -> HttpResponse:
    """Read a version's file with the chosen settings and redirect to the new version; a GET redirects to the dataset."""
    actor = request.actor
    home = reverse("dataset", args=(request.tenant.slug, dataset_id))
    if queries.version_detail(actor, data_version_id)[0] != dataset_id:
        raise NotFound
    if request.method != "POST":
        return redirect(f"{home}?version={data_version_id}")
    try:
        choices = chosen(request.POST, column_choices.column_readings(actor, data_version_id))
        about = chosen_of_file(request.POST, column_choices.file_reading(actor, data_version_id))
        if not choices and not about:
            raise Invalid("No changes to apply: choose another type, format or word for missing first.")
        made = column_choices.choose_columns(actor=actor, version_id=data_version_id, choices=choices, writing=about)
    except (Invalid, Conflict) as refused:
        status = 422 if isinstance(refused, Invalid) else refused.status
        return dataset_page(request, dataset_id, data_version_id, fault=refusal_text(refused), status=status)
    messages.success(request, f"The file was read with your settings as version {made.number}.")
    return redirect(f"{home}?version={made.id}")


def chosen(form: QueryDict, readings: tuple[column_choices.ColumnReading, ...]) -> dict[str, dict[str, Any]]:
    """Return the choices that differ from the current reading; None withdraws a choice."""
    found: dict[str, dict[str, Any]] = {}
    for at, one in enumerate(readings):
        wanted: dict[str, Any] = {}
        for name in ("type", "role", "number", "date"):
            value = form.get(f"{name}-{at}", "")
            if value and value != getattr(one, name):
                wanted[name] = None if value == one.inferred.get(name) else value
        line = form.get(f"missing-{at}")
        if line is not None and line.strip() != written(one.missing):
            words = words_of(line)
            wanted["missing"] = None if words == list(one.inferred.get("missing", ())) else words
        if wanted:
            found[one.name] = wanted
    return found


def chosen_of_file(form: QueryDict, read: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the file choices that differ from the current ones; None withdraws a choice."""
    held = read.get("chosen", {})
    asked = {name: form.get(name) for name in writing.KEYS}
    return {name: value or None for name, value in asked.items() if value is not None and value != held.get(name, "")}


def refusal_text(refused: Invalid | Conflict) -> str:
    """Return a refusal with its columns by name."""
    fields = getattr(refused, "fields", {})
    return " ".join(f"{name.removeprefix('columns.')}: {' '.join(texts)}" for name, texts in fields.items()) or (
        refused.message
    )
