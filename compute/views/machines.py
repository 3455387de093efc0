"""The console's pages of machines that join, and the address at which a machine shows its token."""

from __future__ import annotations

import json
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from compute import labels
from compute.fleet import machines
from tenants.errors import ExchequerError, NotFound
from tenants.operators.pages import OperatorRequest, operator_page

MOST_BYTES = 4096
DONE = {
    "drain": "takes no more work. What runs goes on to its end.",
    "return": "takes work again.",
    "end": "has no login any more. Its work goes to other nodes.",
}


@require_POST
@never_cache
@operator_page("fleet.manage")
def node_token_made(request: OperatorRequest) -> HttpResponse:
    """Make a token, and show it once with the command to type."""
    name, reason = request.POST.get("name", ""), request.POST.get("reason", "")
    pool = request.POST.get("pool") == "on"
    context: dict[str, object] = {"name": name, "reason": reason, "pool": pool}
    context["address"] = request.build_absolute_uri("/")
    try:
        context["row"], context["token"] = machines.make_token(
            operator=request.operator, name=name, reason=reason, pool=pool
        )
    except ExchequerError as refused:
        context["faults"] = getattr(refused, "fields", None) or {"reason": [refused.message]}
        return render(request, "compute/node_token.html", context, status=refused.status)
    return render(request, "compute/node_token.html", context)


@require_POST
@operator_page("fleet.manage")
def node_token_revoked(request: OperatorRequest, token_id: UUID) -> HttpResponse:
    """Let nobody in by a token."""
    try:
        machines.revoke_token(operator=request.operator, token_id=token_id, reason=request.POST.get("reason", ""))
    except NotFound:
        raise
    except ExchequerError as refused:
        messages.error(request, refused.message)
    else:
        messages.success(request, "The token lets nobody in any more.")
    return redirect("operator-fleet")


@require_POST
@operator_page("fleet.manage")
def node_act(request: OperatorRequest, node_id: UUID, act: str) -> HttpResponse:
    """Drain, return or end a node."""
    try:
        machines.ACTS[act](operator=request.operator, node_id=node_id, reason=request.POST.get("reason", ""))
    except NotFound:
        raise
    except ExchequerError as refused:
        messages.error(request, refused.message)
    else:
        messages.success(request, f"The node {DONE[act]}")
    return redirect("operator-fleet")


@require_POST
@operator_page("fleet.manage")
def node_labels(request: OperatorRequest, node_id: UUID) -> HttpResponse:
    """Give a node the labels that were typed."""
    reason = request.POST.get("reason", "")
    try:
        typed = labels.from_text(request.POST.get("labels", ""))
        machines.label(operator=request.operator, node_id=node_id, labels=typed, reason=reason)
    except NotFound:
        raise
    except ExchequerError as refused:
        faults = getattr(refused, "fields", None)
        messages.error(
            request, " ".join(text for texts in faults.values() for text in texts) if faults else refused.message
        )
    else:
        messages.success(request, f"The node carries {labels.as_text(typed) or 'no labels'}.")
    return redirect("operator-fleet")


@csrf_exempt
@login_not_required
@never_cache
@require_POST
def node_join(request: HttpRequest) -> JsonResponse:
    """Let a machine in that shows a token, and return where its database is; no password is sent either way."""
    try:
        if int(request.META.get("CONTENT_LENGTH") or 0) > MOST_BYTES:
            raise ValueError
        sent = json.loads(request.body)
        token, verifier, secret, name = sent["token"], sent["verifier"], sent["secret"], sent.get("name", "")
        if not all(isinstance(one, str) for one in (token, verifier, secret, name)):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError):
        return JsonResponse(
            {"detail": "Send JSON with token, verifier and secret, as manage.py node join does."}, status=400
        )
    try:
        joined = machines.join(
            token=token,
            verifier=verifier,
            secret=secret,
            name=name,
            ip=request.META.get("REMOTE_ADDR", ""),
            request_id=getattr(request, "request_id", ""),
        )
    except ExchequerError as refused:
        return JsonResponse({"code": refused.code, "detail": refused.message}, status=refused.status)
    database = connection.settings_dict
    where = {"host": database["HOST"], "port": str(database["PORT"]), "name": database["NAME"]}
    kept = {name: value for name, value in database["OPTIONS"].items() if name in ("sslmode", "sslrootcert")}
    platform = settings.EXCHEQUER.effective_public_url
    return JsonResponse({"node": joined.name, "login": joined.login, "database": where | kept, "platform": platform})
