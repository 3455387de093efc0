"""The forms that share an object with a member or a group, on the page of each kind of object."""

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods

from tenants.errors import Invalid
from tenants.parsing import uuid_in
from tenants.sharing import shares
from tenants.web.requests import TenantRequest
from tenants.web.views import page


@require_http_methods(["GET", "HEAD", "POST"])
@page("tenant.view")
def share(request: TenantRequest, kind: str, object_id: UUID) -> HttpResponse:
    """Share an object with the chosen member or group; a GET redirects to the object."""
    shares.shares_seen(request.actor, _known(kind), object_id)
    if request.method == "POST":
        who, _, text = request.POST.get("holder", "").partition(":")
        chosen = uuid_in(text)
        if chosen is None or who not in ("user", "group"):
            raise Invalid("Choose a member or a group to share with.")
        holder = {"user_id": chosen} if who == "user" else {"group_id": chosen}
        row = shares.share(actor=request.actor, kind=_known(kind), object_id=object_id, **holder)
        messages.success(request, f"Shared with {row.name}.")
    return redirect(shares.kind_of(_known(kind)).page, request.tenant.slug, object_id)


@require_http_methods(["GET", "HEAD", "POST"])
@page("tenant.view")
def unshare(request: TenantRequest, kind: str, object_id: UUID, holder_id: UUID) -> HttpResponse:
    """End a share; a GET redirects to the object."""
    if request.method == "POST":
        shares.unshare(actor=request.actor, kind=_known(kind), object_id=object_id, holder_id=holder_id)
        messages.success(request, "Sharing stopped.")
    else:
        shares.shares_seen(request.actor, _known(kind), object_id)
    return redirect(shares.kind_of(_known(kind)).page, request.tenant.slug, object_id)


def _known(kind: str) -> str:
    if kind not in {one.name for one in shares.kinds()}:
        raise Http404
    return kind
