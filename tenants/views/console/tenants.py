"""The console's tenants: the list with figures, a new one, and one tenant with its standing."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from tenants.access.standing import CHANGE_NOTHING
from tenants.errors import ExchequerError, NotFound
from tenants.models import Tenant
from tenants.operators import ceilings, lifecycle, tenant_details, tenant_metrics
from tenants.operators.operator_log import record_act
from tenants.operators.orders import erasure, exports
from tenants.operators.pages import OperatorRequest, operator_page, require_recent_proof
from tenants.operators.tenant_metrics import DigestRow
from tenants.views.console.forms import Ceiling, Erasure, NewTenant, Owner
from tenants.web.form_posts import explain
from tenants.web.pagination import EXPORT_LIMIT, before, csv_response, paged, wants_csv

PAGE = 50
LIST_EXPORTED = "tenants.list.exported"
COLUMNS = (
    "slug",
    "name",
    "standing",
    "members",
    "running_jobs",
    "queued_jobs",
    "month_spend",
    "budget_limit",
    "budget_spent",
    "budget_period",
    "open_alerts",
    "currency",
    "created_at",
    "refreshed_at",
)
#: What each act is called on its button, and what it has come to.
ACTS = {
    "suspend": (
        lifecycle.suspend,
        "is suspended. It can read; its endpoints stop and keep their keys, its running jobs end by themselves.",
    ),
    "resume": (lifecycle.resume, "works again. Its endpoints are being deployed again."),
    "close": (lifecycle.close, "closes in seven days. Until then you can restore it."),
    "restore": (lifecycle.restore, "works again."),
    "export": (exports.order, "is being exported. Its owners are notified and download the archive."),
}


@require_safe
@operator_page("tenants.view")
def tenants_page(request: OperatorRequest) -> HttpResponse:
    """List tenants with their figures; `?q=` is part of the name, `?export=csv` returns a file."""
    text = request.GET.get("q", "").strip()[:100]
    if wants_csv(request, "q"):
        rows = tenant_metrics.digests(text=text, limit=EXPORT_LIMIT)
        record_act(request.operator, LIST_EXPORTED, target=("list", "tenants", f"{len(rows)} tenants"))
        return csv_response(request, "tenants", COLUMNS, ([getattr(row, name) for name in COLUMNS] for row in rows))
    rows = tenant_metrics.digests(text=text, after=before(request, str) or "", limit=PAGE)
    shown, links = paged(request, rows, PAGE, lambda row: (row.slug,))
    sums = tenant_metrics.totals(text)
    context = {
        "rows": [(row, _money(row.month_spend, row.currency), _budget(row)) for row in shown],
        "text": text,
        "number": sum(row.tenants for row in sums),
        "running": sum(row.running_jobs for row in sums),
        "spend": [_money(row.month_spend, row.currency) for row in sums],
        "may_manage": request.operator.can("tenants.manage"),
        **links,
    }
    return render(request, "console/tenants.html", context)


@operator_page("tenants.manage")
def new_tenant(request: OperatorRequest) -> HttpResponse:
    """Show the form of a new tenant, and create it."""
    form = NewTenant(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            tenant_id = lifecycle.create(operator=request.operator, **form.wanted)
        except ExchequerError as refused:
            explain(form, refused)
        else:
            owner = form.cleaned_data["owner_email"]
            messages.success(request, f"{form.cleaned_data['name']} is created; {owner} gets an invitation.")
            return redirect("operator-tenant", tenant_id)
    return render(request, "console/tenant_new.html", {"form": form}, status=422 if form.is_bound else 200)


@require_safe
@operator_page("tenants.view")
def tenant_page(request: OperatorRequest, tenant_id: UUID) -> HttpResponse:
    """Show one tenant: facts, figures, people, quotas, and what operators did."""
    return _render(request, tenant_id)


@require_POST
@operator_page("tenants.manage")
def tenant_act(request: OperatorRequest, tenant_id: UUID, act: str) -> HttpResponse:
    """Suspend, resume, close, restore or export a tenant, for a reason."""
    if act not in ACTS:
        raise Http404
    change, done = ACTS[act]
    reason = request.POST.get("reason", "")
    try:
        change(operator=request.operator, tenant_id=tenant_id, reason=reason)
    except NotFound:
        raise
    except ExchequerError as refused:
        given = {"asked": act, "reason": reason, "refused": refused.message}
        return _render(request, tenant_id, status=refused.status, **given)
    if Tenant.objects.filter(pk=tenant_id, standing="suspended").exists() and act == "restore":
        done = "is suspended again, as it was before its closing."
    messages.success(request, f"The organisation {done}")
    return redirect("operator-tenant", tenant_id)


@require_POST
@operator_page("tenants.manage")
def owner_invite(request: OperatorRequest, tenant_id: UUID) -> HttpResponse:
    """Have somebody invited as the owner of a tenant without members."""
    form = Owner(request.POST)
    if form.is_valid():
        email = form.cleaned_data["owner_email"]
        try:
            lifecycle.invite_owner(operator=request.operator, tenant_id=tenant_id, email=email)
        except NotFound:
            raise
        except ExchequerError as refused:
            explain(form, refused)
        else:
            messages.success(request, f"{email} gets an invitation.")
            return redirect("operator-tenant", tenant_id)
    return _render(request, tenant_id, status=422, owner_form=form)


@require_POST
@operator_page("quotas.manage")
def ceiling_set(request: OperatorRequest, tenant_id: UUID) -> HttpResponse:
    """Set or lift a ceiling of a tenant."""
    form = Ceiling(request.POST)
    if form.is_valid():
        try:
            given = form.cleaned_data
            wanted = ceilings.Ceiling(resource=given["resource"], limit=given["limit"])
            ceilings.set_one(operator=request.operator, tenant_id=tenant_id, wanted=wanted, reason=given["reason"])
        except NotFound:
            raise
        except ExchequerError as refused:
            explain(form, refused)
        else:
            messages.success(request, "The ceiling is set. Limits above it stay; the lower one binds.")
            return redirect("operator-tenant", tenant_id)
    return _render(request, tenant_id, status=422, ceiling_form=form)


@require_POST
@operator_page("tenants.erase")
def tenant_erase(request: OperatorRequest, tenant_id: UUID) -> HttpResponse:
    """Order the erasure of a closed tenant, whose name is typed by an operator who proved who they are just now."""
    form = Erasure(request.POST)
    if form.is_valid():
        try:
            erasure.order(
                operator=request.operator,
                tenant_id=tenant_id,
                prove=lambda: require_recent_proof(request),
                **form.cleaned_data,
            )
        except NotFound:
            raise
        except ExchequerError as refused:
            explain(form, refused)
        else:
            messages.success(request, "The erasure is ordered. It begins within minutes; usage and ledger stay.")
            return redirect("operator-tenant", tenant_id)
    return _render(request, tenant_id, status=422, erasure_form=form)


def _render(request: OperatorRequest, tenant_id: UUID, *, status: int = 200, **given: Any) -> HttpResponse:
    found = tenant_details.details(tenant_id)
    possible = [
        name
        for name, action in (
            ("suspend", lifecycle.SUSPENDED),
            ("resume", lifecycle.RESUMED),
            ("close", lifecycle.CLOSING),
            ("restore", lifecycle.RESTORED),
        )
        if found.tenant.standing in lifecycle.MOVES[action][0]
    ]
    if request.operator.can("tenants.export") and found.tenant.standing != "closed":
        possible.append("export")
    manages = request.operator.can("tenants.manage")
    works = found.tenant.standing not in CHANGE_NOTHING
    context = {
        "found": found,
        "owner_form": Owner() if manages and not found.people and works else None,
        "organisation": found.tenant,
        "spent": _money(found.figures.month_spend, found.figures.currency) if found.figures else None,
        "acts_possible": possible if manages else [],
        "may_look": request.operator.can("tenants.look_inside") and found.tenant.standing != "closed",
        "may_see_prices": request.operator.can("prices.view"),
        "may_see_invoices": request.operator.can("invoices.view"),
        "most": tenant_details.MOST,
        "erasure_form": Erasure() if request.operator.can("tenants.erase") and _can_be_erased(found.tenant) else None,
        "ceiling_form": Ceiling()
        if request.operator.can("quotas.manage") and found.tenant.standing != "closed"
        else None,
        **given,
    }
    return render(request, "console/tenant.html", context, status=status)


def _can_be_erased(tenant: Tenant) -> bool:
    return tenant.standing == "closed" and tenant.erase_ordered_at is None


def _budget(row: DigestRow) -> dict[str, object] | None:
    return None if row.budget_limit is None else _money(row.budget_limit, row.currency)


def _money(amount: Decimal, currency: str) -> dict[str, object]:
    return {"amount": amount, "currency": currency}
