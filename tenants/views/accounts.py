"""The account pages of allauth that this product uses; every other one is a 404.

An address is never verified here: an organisation names it when it invites. So nobody may change an account's address
to one that a membership or an invitation is meant for. A closed page keeps its name, because allauth needs it.
"""

from typing import Any, NoReturn

from allauth.account.urls import urlpatterns as provided
from allauth.mfa.urls import urlpatterns as factors
from django.http import Http404, HttpRequest
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


urlpatterns = [
    *(
        page if page.name in OPEN else URLPattern(page.pattern, closed, page.default_args, page.name)
        for page in provided
    ),
    path("2fa/", include(factors)),
]
