"""Approvals: requests that one may answer, and one's own; and the form that asks for a higher quota."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from tenants import quotas
from tenants.access.actor import Actor, InProject
from tenants.access.permissions import ROLE_WORDS
from tenants.approvals import access_requests, elsewhere, queries, quota_requests
from tenants.approvals.kinds import OPERATORS
from tenants.errors import ExchequerError, NotFound
from tenants.grants.queries import roles
from tenants.parsing import uuid_in
from tenants.queries import projects as all_projects
from tenants.quotas import scopes
from tenants.views.forms import AccessRequest, ApprovalAnswer, QuotaRequest
from tenants.web.form_posts import explain, redirect_get_to
from tenants.web.pagination import before, paged
from tenants.web.requests import TenantRequest
from tenants.web.views import page

PAGE = 50
MOST_OFFERED = 200
ASKED_BEFORE = "You asked for the same before. That request still waits for an answer."


@require_safe
@page("approvals.view")
def approvals_page(request: TenantRequest) -> HttpResponse:
    """List requests, the open ones first shown; `?show=all` lists answered ones too, `?of=ID` shows one."""
    return _render(request)


@require_POST
@page("approvals.answer")
def approval_answer(request: TenantRequest, approval_id: UUID) -> HttpResponse:
    """Approve or decline a request, as the pressed button says."""
    if not queries.approvals(request.actor, only=approval_id):
        raise NotFound
    form = ApprovalAnswer(request.POST)
    if not form.is_valid():
        return _render(request, answer_form=form, only=approval_id, status=422)
    said, granted = form.cleaned_data["reason"], form.cleaned_data["answer"] == "approve"
    try:
        row = elsewhere.answer(actor=request.actor, approval_id=approval_id, granted=granted, reason=said)
    except ExchequerError as refused:
        explain(form, refused)
        return _render(request, answer_form=form, only=approval_id, status=refused.status)
    messages.success(request, f"The request of {row.requester_label} is {row.state}.")
    return redirect("approvals", request.tenant.slug)


@page("approvals.request")
@redirect_get_to("approvals")
def quota_request(request: TenantRequest) -> HttpResponse:
    """Ask for a higher quota."""
    form = QuotaRequest(request.POST, quotas=_offered(request.actor))
    if not form.is_valid():
        return _render(request, form=form, status=422)
    data = form.cleaned_data
    resource, _, scope = data["quota"].partition("@")
    try:
        asked = quota_requests.request(
            actor=request.actor,
            resource=resource,
            limit=data["limit"],
            scope=scopes.parse(scope),
            reason=data["reason"],
            until=form.until(),
        )
    except ExchequerError as refused:
        explain(form, refused)
        return _render(request, form=form, status=refused.status)
    if asked.was_open:
        messages.info(request, ASKED_BEFORE)
        return redirect("approvals", request.tenant.slug)
    who = " This is above your ceiling: the operators of this installation answer." if asked.side == OPERATORS else ""
    messages.success(request, f"Request sent.{who} You are notified when it is answered.")
    return redirect("approvals", request.tenant.slug)


@page("approvals.view")
@redirect_get_to("approvals")
def access_request(request: TenantRequest) -> HttpResponse:
    """Ask for a role."""
    form = AccessRequest(request.POST, **_askable())
    if not form.is_valid():
        return _render(request, access_form=form, status=422)
    data = form.cleaned_data
    try:
        asked = access_requests.request(
            actor=request.actor,
            role=data["role"],
            project_id=uuid_in(data["project"]),
            until=form.until(),
            reason=data["reason"],
        )
    except ExchequerError as refused:
        explain(form, refused)
        return _render(request, access_form=form, status=refused.status)
    if asked.was_open:
        messages.info(request, ASKED_BEFORE)
    else:
        messages.success(request, "Request sent. You are notified when it is answered.")
    return redirect("approvals", request.tenant.slug)


def _askable() -> dict[str, list[tuple[str, str]]]:
    """Return the roles and the projects that can be asked for."""
    built_in = [(role, f"{role.capitalize()}: {ROLE_WORDS[role]}") for role in access_requests.ASKED_FOR]
    own = [(str(row.id), row.name) for row in roles() if not row.built_in][:MOST_OFFERED]
    return {"roles": [*built_in, *own], "projects": [(str(one.id), one.name) for one in all_projects()]}


def _offered(actor: Actor) -> list[tuple[str, str]]:
    """Return the limits and ceilings that an actor may have raised, by the text that the form sends.

    Those of projects in which it may ask, and those of the organisation and its people for who reads them elsewhere, too.
    """
    whole = actor.can("approvals.request") and actor.can("quotas.view")
    uses = [
        use
        for use in quotas.everywhere()
        if (use.limit is not None or (use.ceiling is not None and use.scope == quotas.ORGANISATION))
        and (
            actor.can("approvals.request", InProject(use.scope.project_id))
            if use.scope.project_id
            else whole and (not use.scope.person or actor.can("members.view"))
        )
    ]
    known, names = quotas.resources(), scopes.names({use.scope for use in uses})
    return [
        (
            f"{use.resource}@{use.scope.text}",
            f"{known[use.resource].title} of {names[use.scope]}, {known[use.resource].said(use.effective or 0)} now",
        )
        for use in uses
        if use.resource in known
    ][:MOST_OFFERED]


def _render(
    request: TenantRequest,
    *,
    form: QuotaRequest | None = None,
    only: UUID | None = None,
    status: int = 200,
    **given: Any,
) -> HttpResponse:
    actor, everything = request.actor, request.GET.get("show") == "all"
    only = only or uuid_in(request.GET.get("of"))
    state = "" if everything or only else "open"
    rows = queries.approvals(actor, state=state, only=only, before=before(request, UUID), limit=PAGE)
    shown, links = paged(request, rows, PAGE, lambda row: (row.id,))
    context: dict[str, Any] = {"approvals": shown, "everything": everything, "only": only, **links, **given}
    if actor.kind == "user":
        context.setdefault("access_form", AccessRequest(**_askable()))
    if actor.can_somewhere("approvals.request"):
        offered = _offered(actor)
        context["form"] = form or (QuotaRequest(quotas=offered) if offered else None)
    return render(request, "tenants/approvals.html", context, status=status)
