"""The account pages of the console: log-in, password, second factors. Every other page of allauth is a 404.

A password is reset by a command on the machine; a link by mail would make the mailbox a way in.
"""

from allauth.account.urls import urlpatterns as accounts
from django.urls import URLPattern

from tenants.views.accounts import closed, second_factors

OPEN = frozenset(
    {"account_login", "account_logout", "account_inactive", "account_change_password", "account_reauthenticate"}
)

urlpatterns = [
    *(
        page if page.name in OPEN else URLPattern(page.pattern, closed, page.default_args, page.name)
        for page in accounts
    ),
    *second_factors,
]
