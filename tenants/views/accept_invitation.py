"""The page behind an invitation's link: for a new person, for one with an account, and for the wrong account."""

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from tenants.errors import ExchequerError
from tenants.identity import invitations
from tenants.identity.account_adapter import AccountAdapter
from tenants.models import User
from tenants.views.forms import JoinAsNew
from tenants.web.error_pages import log_in_url
from tenants.web.form_posts import explain
from tenants.web.navigation import home_url


@never_cache
@sensitive_post_parameters("password")
def join(request: HttpRequest, token: str) -> HttpResponse:
    """Show the offer, and accept it."""
    try:
        offer = invitations.find(token)
        if request.method == "POST":
            return _accept(request, token, offer)
    except invitations.InvitationGone as gone:
        return render(request, "tenants/invitation_gone.html", {"message": gone.message}, status=gone.status)
    return _render(request, offer, JoinAsNew())


def _accept(request: HttpRequest, token: str, offer: invitations.InvitationDetails) -> HttpResponse:
    user = request.user if isinstance(request.user, User) else None
    form = JoinAsNew(request.POST)
    if user is None and not form.is_valid():
        return _render(request, offer, form, status=422)
    given = form.cleaned_data if user is None else {}
    try:
        with transaction.atomic():
            person, _ = invitations.accept(token=token, user=user, ip=request.META.get("REMOTE_ADDR", ""), **given)
    except invitations.InvitationGone:
        raise
    except ExchequerError as refused:
        if user is None:
            explain(form, refused)
        return _render(request, offer, form, refused=refused.message, status=refused.status)
    if user is None:
        AccountAdapter(request).login(request, person)
    return redirect(home_url(offer.slug))


def _render(
    request: HttpRequest, offer: invitations.InvitationDetails, form: JoinAsNew, *, refused: str = "", status: int = 200
) -> HttpResponse:
    user = request.user if isinstance(request.user, User) else None
    context = {
        "offer": offer,
        "form": form,
        "refused": refused,
        "mine": user is not None and user.email == offer.email,
        "other": user.email if user is not None and user.email != offer.email else "",
        "log_in": log_in_url(request.path),
    }
    return render(request, "tenants/invitation.html", context, status=status)
