"""The addresses at which nodes ask for what their live work needs. The node's own secret is all that lets in."""

from __future__ import annotations

import json
from uuid import UUID

import structlog
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, JsonResponse
from django.urls import URLPattern, path
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from models_app.node_access import held
from tenants.errors import ExchequerError

log = structlog.get_logger(__name__)
MOST_BYTES = 256 * 1024
MALFORMED = "Send JSON with tenant, kind, id and token, and what is asked, as a node does."


@csrf_exempt
@login_not_required
@never_cache
@require_POST
def handed_out(request: HttpRequest, what: str) -> JsonResponse:
    """Answer a node that holds the work it names."""
    try:
        if int(request.META.get("CONTENT_LENGTH") or 0) > MOST_BYTES:
            raise ValueError
        sent = json.loads(request.body)
        kind, token = sent["kind"], sent["token"]
        tenant_id, work_id = UUID(sent["tenant"]), UUID(sent["id"])
        if type(kind) is not str or type(token) is not int or not 0 <= token < 2**31:
            raise TypeError
    except (ValueError, KeyError, TypeError):
        return JsonResponse({"code": "invalid", "detail": MALFORMED}, status=400)
    try:
        secret = request.headers.get("Authorization", "").removeprefix("Bearer ")
        work = held.held(secret, tenant_id=tenant_id, kind=kind, work_id=work_id, token=token)
        answer = held.ANSWERS[what](work, sent)
    except ExchequerError as refused:
        log.warning("node.refused", what=what, code=refused.code)
        return JsonResponse({"code": refused.code, "detail": refused.message}, status=refused.status)
    log.info("node.handed_out", what=what, work=str(work_id), tenant=str(tenant_id))
    return JsonResponse(answer)


urlpatterns: list[URLPattern] = [
    path(f"{what}/", handed_out, {"what": what}, name=f"node-{what}") for what in held.ANSWERS
]
