"""Grants of operator rights. The database refuses them in a web request; a command of the control role makes them."""

from __future__ import annotations

from django.db import transaction

from tenants.errors import NotFound
from tenants.models import User
from tenants.operations import check_email, check_password, find_or_create_user
from tenants.operators.operator_log import Operator, operator_scope, record_act

COMMAND = "manage.py operator"


class NoAccount(NotFound):
    """No account has this email address. Add --password to create one."""

    code = "no_account"


def grant(email: str, *, password: str | None = None) -> bool:
    """Make an account an operator; create it with `password` if missing.

    Runs as the control role. Returns False if it already is an operator.
    """
    return _set(find_or_create_user(email=email, password=password) if password else _known(email), True)


def set_password(email: str, password: str) -> None:
    """Set an operator's password (control role); all their sessions end. Raises NoAccount, Invalid."""
    user = _known(email)
    check_password(password)
    user.set_password(password)
    by = Operator(id=user.id, label=COMMAND)
    with transaction.atomic(), operator_scope(by):
        User.objects.filter(id=user.id).update(password=user.password)
        reason = "typed on the machine itself"
        record_act(by, "tenants.operator.password_set", target=("user", user.id, user.email), reason=reason)


def revoke(email: str) -> bool:
    """Revoke an account's operator rights, effective with its next request; return False if it has none."""
    return _set(_known(email), False)


def operators() -> list[str]:
    """Return the addresses of all operators."""
    return list(User.objects.filter(is_operator=True).order_by("email").values_list("email", flat=True))


def _known(email: str) -> User:
    user = User.objects.filter(email=check_email(email)).first()
    if user is None:
        raise NoAccount
    return user


def _set(user: User, is_operator: bool) -> bool:
    if user.is_operator == is_operator:
        return False
    by = Operator(id=user.id, label=COMMAND)
    with transaction.atomic(), operator_scope(by):
        User.objects.filter(id=user.id).update(is_operator=is_operator)
        action = "tenants.operator.appointed" if is_operator else "tenants.operator.dismissed"
        record_act(by, action, target=("user", user.id, user.email), reason="typed on the machine itself")
    return True
