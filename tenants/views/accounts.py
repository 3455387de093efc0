"""The account pages of allauth that this product uses; every other one is a 404.

An address is never verified here: an organisation names it when it invites. So nobody may change an account's address
to one that a membership or an invitation is meant for. A closed page keeps its name, because allauth needs it.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn

from allauth.account.adapter import get_adapter
from allauth.account.urls import urlpatterns as provided
from allauth.mfa.recovery_codes.views import download_recovery_codes, view_recovery_codes
from allauth.mfa.urls import urlpatterns as factors
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.urls import URLPattern, include, path

OPEN = frozenset(
    {
        "account_login",
        "account_logout",
        "account_reauthenticate",
        "account_inactive",
        "account_change_password",
        "account_set_password",
        "account_reset_password",
        "account_reset_password_done",
        "account_reset_password_from_key",
        "account_reset_password_from_key_done",
    }
)


def closed(request: HttpRequest, **_: Any) -> NoReturn:
    """Respond as for a page that does not exist."""
    raise Http404


def noted(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Return a view of recovery codes that leaves an entry before it shows them."""

    @wraps(view)
    def shown(request: HttpRequest, **_: Any) -> HttpResponseBase:
        response = view(request)
        if response.status_code == 200:
            get_adapter(request).note_codes_viewed(request, request.user)
        return response

    return shown


#: Pages of second factors, on both sides. To see the codes is to read a secret.
second_factors = [
    path("2fa/recovery-codes/", noted(view_recovery_codes), name="mfa_view_recovery_codes"),
    path("2fa/recovery-codes/download/", noted(download_recovery_codes), name="mfa_download_recovery_codes"),
    path("2fa/", include(factors)),
]
urlpatterns = [
    *(
        page if page.name in OPEN else URLPattern(page.pattern, closed, page.default_args, page.name)
        for page in provided
    ),
    *second_factors,
]
