"""Pages that read every app: the overview, the Dash pages through the bridge, and their exports."""

from collections.abc import Collection

from csp.constants import SELF, UNSAFE_INLINE
from csp.decorators import csp_update
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path
from django.views.decorators.http import require_http_methods, require_safe

from dashboards import bridge, palette, registry
from dashboards.health.datasets import DEFAULT_SPAN, export, health_page
from dashboards.overview import overview as numbers
from dashboards.ranges import CHOICES, fault_of
from dashboards.spend import exports
from dashboards.spend.groupings import GROUPS, ORDERS, group_title, narrowed
from models_app.queries import HEALTH_SPANS
from tenants.errors import Invalid
from tenants.web.pagination import csv_response, refuse_unknown
from tenants.web.requests import TenantRequest
from tenants.web.views import page

#: Query string keys of the page `Spend and utilisation`.
SPEND_ASKED = ("range", "group", "second", "sort", "from", "to", "only")
# Plotly writes style attributes; scripts stay as strict as everywhere.
DASH_POLICY = {"style-src": [SELF, UNSAFE_INLINE], "img-src": [SELF, "data:", "blob:"]}


@page("tenant.view")
def overview(request: TenantRequest) -> HttpResponse:
    """Show the overview of the organisation."""
    actor = request.actor
    context = {
        "seen": numbers(actor),
        "can_launch": actor.can_somewhere("jobs.launch"),
        "can_create": actor.can_somewhere("datasets.create"),
    }
    return render(request, "dashboards/overview.html", context)


@require_safe
@page("tenant.view")
def find(request: TenantRequest) -> HttpResponse:
    """Return the fragment of the palette: pages and objects whose name contains the text."""
    refuse_unknown(request, "q")
    text = request.GET.get("q", "").strip()[: palette.LONGEST]
    found = palette.find(request.actor, text)
    return render(request, "dashboards/_found.html", {"found": found, "asked": text})


@csp_update(DASH_POLICY)  # type: ignore[arg-type]  # it knows only views without further arguments
@require_http_methods(["GET", "HEAD", "POST"])
@page("tenant.view")
def dash_page(request: TenantRequest, slug: str, path: str = "") -> HttpResponse:
    """Return a Dash page or one of its own requests, with the page's permission; 404 for an unknown page."""
    app = registry.find(slug)
    if app is None:
        raise Http404
    actor = request.actor
    actor.require_somewhere(registry.PAGES[slug])
    return bridge.forward(app, request, path)


@require_safe
@page("spend.view")
def spend_export(request: TenantRequest, table: str) -> HttpResponse:
    """Return one table of the page `Spend and utilisation` as CSV, for the same query string."""
    refuse_unknown(request, *SPEND_ASKED)
    tags = [asked for name in ("group", "second") if group_title(asked := request.GET.get(name, ""))]
    groups = (*GROUPS, "resource", *tags)
    offered(request, range=CHOICES, sort=ORDERS, group=groups, second=("", *groups))
    if narrowed(request.GET.dict()) is None:
        raise Invalid('only: give the value of each group that narrows, such as {"project": ID}.')
    if fault := fault_of(request.GET.dict()):
        raise Invalid(fault)
    exported = exports.export(table, request.GET.dict())
    if exported is None:
        raise Http404
    return csv_response(request, f"spend-{table}", *exported)


@require_safe
@page("endpoints.view")
def health_export(request: TenantRequest, table: str) -> HttpResponse:
    """Return one table of the page `Model health` as CSV, for the same query string."""
    refuse_unknown(request, "range", "endpoint")
    offered(request, range=HEALTH_SPANS)
    values = {"range": DEFAULT_SPAN} | request.GET.dict()
    exported = export(table, health_page(request.actor, values))
    if exported is None:
        raise Http404
    return csv_response(request, f"health-{table}", *exported)


def offered(request: TenantRequest, **choices: Collection[str]) -> None:
    """Raise `Invalid` for a choice that the page does not offer, as the export would silently use another."""
    for name, values in choices.items():
        if name in request.GET and request.GET[name] not in values:
            raise Invalid(f"{name}: choose among {', '.join(values)}.")


urlpatterns: list[URLPattern] = [
    path("", overview, name="overview"),
    path("find/", find, name="find"),
    path("dash/<slug:slug>/", dash_page, name="dash-page"),
    path("dash/<slug:slug>/<path:path>", dash_page, name="dash-part"),
    path("spend/export/<slug:table>.csv", spend_export, name="spend-export"),
    path("health/export/<slug:table>.csv", health_export, name="health-export"),
]
