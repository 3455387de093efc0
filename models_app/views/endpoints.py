"""Pages of endpoints: the list, the deploy form, one endpoint with its keys, traffic and monitoring, and undeploy."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.timezone import localtime
from django.views.decorators.http import require_http_methods, require_safe

from models_app.endpoints import deployments, endpoints, playground, reservations
from models_app.endpoints.compatibility import replaced
from models_app.forms.endpoints import DeployForm, KeyForm, TryForm
from models_app.models import Stage
from models_app.monitoring import health
from models_app.monitoring.timeseries import OUTCOMES
from models_app.registry import lineage as versions
from models_app.views.launches.options import stopped
from tenants import queries as tenancy
from tenants.access.actor import Actor
from tenants.access.standing import TakesAway
from tenants.errors import ExchequerError, Invalid, NotFound
from tenants.parsing import uuid_in
from tenants.sharing.panel import share_panel
from tenants.sharing.shares import is_managed
from tenants.web.idempotency import run_once
from tenants.web.pagination import before, paged
from tenants.web.requests import TenantRequest
from tenants.web.views import page

PAGE = 50
MOST_DRIFTS = 5
ELSEWHERE = {"version_id": "version", "project_id": "project"}


@require_safe
@page("endpoints.view")
def endpoint_list(request: TenantRequest) -> HttpResponse:
    """List endpoints, newest first, with a day's requests and open alerts."""
    actor = request.actor
    rows = endpoints.endpoint_list(actor, before=before(request, UUID), limit=PAGE)
    shown, links = paged(request, rows, PAGE, lambda row: (row.id,))
    health_summaries = health.health_summaries([row.id for row in shown])
    context = {
        "endpoints": [(row, health_summaries[row.id]) for row in shown],
        "can_manage": actor.can_somewhere("endpoints.manage"),
        **links,
    }
    return render(request, "models_app/endpoints.html", context)


@page("endpoints.manage")
def deploy(request: TenantRequest) -> HttpResponse:
    """Show the form, or deploy; a refusal is shown on the form with its input kept.

    A live endpoint changes its version only after confirmation.
    """
    actor = request.actor
    choices = versions.deployable(actor)
    projects = [(project.id, project.name) for project in tenancy.projects_for(actor, "endpoints.manage")]
    if request.method != "POST":
        wanted = request.GET.get("version", "")
        key = uuid_in(wanted)
        label = dict(choices).get(key, "") if key else ""
        started = {"version": str(key) if label else "", "name": request.GET.get("name") or _name_from(label)}
        form = DeployForm(versions=choices, projects=projects, initial=started)
        refused = bool(wanted) and not label
        context = {
            "form": form,
            "versions": choices,
            "refused": refused,
            "asked": _early(actor, key) if refused else None,
            "stopped": stopped(actor),
        }
        return render(request, "models_app/deploy.html", context)
    form = DeployForm(request.POST, versions=choices, projects=projects)
    status, found = 422, None
    if form.is_valid():
        entered = {**form.cleaned_data, "tags": form.all_tags()}
        found = replaced(actor, entered["name"], UUID(entered["version"]))
        allowed = found is not None and form.allows(found)
        try:
            if found is None or allowed:
                with transaction.atomic():
                    return redirect(
                        run_once(request, entered["form_key"], lambda: _deploy(request, entered, replace=allowed))
                    )
            status = 409
        except ExchequerError as refused:
            status = 422 if isinstance(refused, Invalid) else refused.status
            form.explain(refused)
    context = {"form": form, "versions": choices, "replaced": found}
    return render(request, "models_app/deploy.html", context, status=status)


@require_safe
@page("endpoints.view")
def endpoint(request: TenantRequest, endpoint_id: UUID) -> HttpResponse:
    """Show one endpoint."""
    return endpoint_page(request, endpoint_id)


@require_safe
@page("endpoints.view")
def endpoint_live(request: TenantRequest, endpoint_id: UUID) -> HttpResponse:
    """Return the part of the page that changes while an endpoint loads; once settled, it polls no more."""
    row = endpoints.endpoint_detail(request.actor, endpoint_id)
    return render(request, "models_app/_endpoint_live.html", {"endpoint": row, "spent": _spent(row)})


@require_http_methods(["GET", "HEAD", "POST"])
@page("endpoints.manage")
def endpoint_undeploy(request: TenantRequest, endpoint_id: UUID) -> HttpResponse:
    """Undeploy after the endpoint's name was typed, and redirect to its page; a GET redirects too."""
    row = endpoints.endpoint_detail(request.actor, endpoint_id)
    if request.method != "POST":
        return redirect("endpoint", request.tenant.slug, endpoint_id)
    if row.live and request.POST.get("confirm", "").strip() != row.name:
        fault = f"Nothing was changed: type “{row.name}” to undeploy it."
        return endpoint_page(request, endpoint_id, fault=fault, status=422)
    deployments.undeploy(actor=request.actor, endpoint_id=endpoint_id)
    messages.success(request, "Endpoint undeployed. It no longer answers, and its keys are revoked.")
    return redirect("endpoint", request.tenant.slug, endpoint_id)


@require_safe
@page("endpoints.view")
def endpoint_traffic(request: TenantRequest, endpoint_id: UUID) -> HttpResponse:
    """Return a day's requests, latency, errors and alerts, which the page of a live endpoint polls."""
    row = endpoints.endpoint_detail(request.actor, endpoint_id)
    return render(request, "models_app/_endpoint_traffic.html", _traffic(request, row))


def endpoint_page(request: TenantRequest, endpoint_id: UUID, *, status: int = 200, **more: Any) -> HttpResponse:
    """Render the page of one endpoint; `more` carries a refused form, a new key, or a playground result."""
    actor = request.actor
    row = endpoints.endpoint_detail(actor, endpoint_id)
    shown = _traffic(request, row)
    fields = playground.inputs(actor, endpoint_id)
    may = actor.can("endpoints.manage", row)  # may try it, too, where it is only shared with them
    owns = is_managed(actor, "endpoint", endpoint_id)
    manage = may and row.live and owns
    context = {
        **shown,
        # Every role of the organisation sees budgets; an operator who looks inside does not.
        "spent": actor.can_somewhere("budgets.view") and _spent(row),
        "keys": endpoints.endpoint_keys(actor, endpoint_id),
        "key_form": KeyForm() if manage else None,
        "try_form": TryForm(inputs=fields) if may and row.live else None,
        "code": playground.snippets(row.name, fields, endpoint_id=row.id, key=more.get("secret") or "YOUR_KEY").titled
        if row.live
        else (),
        "drifts": shown["health"].drift[:MOST_DRIFTS],
        "can_manage": manage,
        "can_end_keys": row.live and owns and actor.can(TakesAway("endpoints.manage"), row),
        "can_deploy": may,
        "sharing": share_panel(actor, "endpoint", row.id, row),
        **more,
    }
    return render(request, "models_app/endpoint.html", context, status=status)


def _traffic(request: TenantRequest, row: endpoints.EndpointRow) -> dict[str, Any]:
    """Return the figures of the tiles and the chart of an endpoint's day."""
    actor = request.actor
    found, day = health.health(actor, row.id), health.traffic(actor, row.id, "24h")
    return {
        "endpoint": row,
        "day": day.totals,
        "chart": _chart(day) if day.totals.requests else None,
        "health": found,
        "open_alerts": [alert for alert in found.alerts if alert.resolved_at is None],
        "health_url": f"{reverse('dash-page', args=(request.tenant.slug, 'health'))}?endpoint={row.id}",
    }


def _chart(day: health.Traffic) -> dict[str, Any]:
    """Return the requests of each time step by outcome. Rate-limited requests count as client errors."""
    failed = [one.failed for one in day.steps]
    refused = [sum(one.errors.values()) - one.failed for one in day.steps]
    answered = [one.requests - sum(one.errors.values()) for one in day.steps]
    starts = [f"{at.day} {at:%b %H:%M}" for at in (localtime(one.starts) for one in day.steps)]
    series = dict(zip(OUTCOMES, (answered, refused, failed), strict=True))
    return {"starts": starts, "series": series, "colours": OUTCOMES}


def _early(actor: Actor, version_id: UUID | None) -> versions.Lineage | None:
    """Return the version that is not in production; None if it does not exist or the actor may not see it."""
    try:
        found = versions.lineage(actor, version_id) if version_id else None
    except NotFound:
        return None
    return found if found is not None and found.stage != Stage.PRODUCTION else None


def _spent(row: endpoints.EndpointRow) -> bool:
    return row.answers and reservations.without_money(row.id)


def _deploy(request: TenantRequest, entered: dict[str, Any], *, replace: bool) -> str:
    deployed = deployments.deploy(
        actor=request.actor,
        name=entered["name"],
        version_id=UUID(entered["version"]),
        project_id=UUID(entered["project"]) if entered["project"] else None,
        slo_ms=entered["slo_ms"],
        tags=entered["tags"] or None,
        replace=replace,
    )
    return reverse("endpoint", args=(request.tenant.slug, deployed.id))


def _name_from(label: str) -> str:
    """Suggest an endpoint's name after its model."""
    letters = [letter if letter.isascii() and letter.isalnum() else "-" for letter in label.rpartition(" v")[0].lower()]
    return "".join(letters).strip("-")[:63]
