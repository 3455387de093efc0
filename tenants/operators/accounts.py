"""Log-in to the console: by operators with a role; entries stand in the operator log."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from tenants.identity import account_forms, audited_access
from tenants.identity.account_adapter import AccountAdapter
from tenants.operators import sessions
from tenants.operators.glass import ending
from tenants.operators.operator import Operator
from tenants.operators.operator_log import record_act
from tenants.operators.pages import roles_of

LOGGED_IN = "tenants.operator.logged_in"


class LogIn(account_forms.LogIn):
    """Log-in without a link to reset the password, which only a command does."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password"].help_text = ""


class ChangedPassword(account_forms.ChangedPassword):
    """Change of a known password, without a link to reset it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["oldpassword"].help_text = ""


class Reauthenticated(account_forms.Reauthenticated):
    """The password again, without a link to reset it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password"].help_text = ""


class ConsoleAdapter(AccountAdapter):
    """allauth's adapter for operators. Only operators' accounts are visible to this process."""

    def authenticate(self, request: HttpRequest, **credentials: Any) -> Any:
        """Return the operator, or None for one without a role."""
        user = super().authenticate(request, **credentials)
        if user is not None and not roles_of(user):
            self.authentication_failed(request, **credentials)
            return None
        return user

    def note_log_in(self, request: HttpRequest, user: Any) -> None:
        """Record a log-in in the operator log."""
        record_act(_by(request, user), LOGGED_IN, target=("operator", user.id, user.email))

    def note_second_factor(self, request: HttpRequest, user: Any, what: str) -> None:
        """Record a change of a second factor in the operator log."""
        target = ("operator", user.id, user.email)
        record_act(
            _by(request, user), "tenants.operator.second_factor_changed", target=target, reason=what.replace("_", " ")
        )

    def note_codes_viewed(self, request: HttpRequest, user: Any) -> None:
        """Record in the operator log that an operator saw their recovery codes."""
        record_act(_by(request, user), audited_access.CODES_VIEWED, target=("operator", user.id, user.email))

    def note_password(self, request: HttpRequest, user: Any) -> None:
        """Record a new password in the operator log, and end the other sessions."""
        self.end_other_sessions(request, user)
        record_act(_by(request, user), "tenants.operator.password_changed", target=("operator", user.id, user.email))

    def logout(self, request: HttpRequest) -> None:
        """End the operator's looks, and the session."""
        if request.user.is_authenticated:
            ending.end_all(operator_id=request.user.id, by=_by(request, request.user), reason="logged out")
        super().logout(request)

    def end_other_sessions(self, request: HttpRequest, user: Any) -> None:
        """End an operator's other sessions, and their looks, which one of these may have opened."""
        ending.end_all(operator_id=user.id, by=_by(request, user), reason=ending.BY_ACCESS)
        sessions.end_others(user.id, request.session.session_key)


def _by(request: HttpRequest, user: Any) -> Operator:
    return Operator(
        id=user.id,
        label=user.email,
        ip=request.META.get("REMOTE_ADDR", ""),
        request_id=getattr(request, "request_id", ""),
    )
