"""Accounts and roles of operators. Only a command on the machine makes or changes them, as the control role."""

from __future__ import annotations

from dataclasses import dataclass

from allauth.mfa.models import Authenticator
from django.db import transaction

from tenants.access.operator_roles import OPERATOR_ROLES
from tenants.errors import Invalid, NotFound
from tenants.models import OperatorGrant, OperatorKey, OperatorSession, User
from tenants.operations import check_email, check_password
from tenants.operators import keys
from tenants.operators.glass import ending
from tenants.operators.operator import Operator
from tenants.operators.operator_log import record_act
from tenants.operators.orders import exports

COMMAND = "manage.py operator"
FIRST_ROLE = "platform_admin"
REASON = "typed on the machine itself"
WITHOUT_ACCESS = "the operator who ordered it was let in no more"


class NoAccount(NotFound):
    """No operator has this email address. Add --password to create one."""

    code = "no_account"


@dataclass(frozen=True)
class OperatorRow:
    """One operator with their roles, and how they log in. Without roles they cannot."""

    email: str
    roles: tuple[str, ...]
    second_factor: bool


def grant(email: str, role: str, *, password: str | None = None) -> bool:
    """Give an operator a role; create the account with `password` if missing.

    Returns False if they had the role. Raises NoAccount, Invalid.
    """
    check_role(role)
    with transaction.atomic():
        user = _create(email, password) if password and _find(email) is None else _known(email)
        _, fresh = OperatorGrant.objects.get_or_create(user=user, role=role)
        if fresh:
            _record(user, "tenants.operator.appointed", f"{user.email}: {role}")
    return fresh


def create_first(email: str, password: str, secret: str = "") -> None:
    """Create the first operator, as administrator, and a key with this secret if one is given. Raises Invalid."""
    with transaction.atomic():
        grant(email, FIRST_ROLE, password=password)
        if secret:
            user = _known(email)
            maker = Operator(id=user.id, label=COMMAND, roles=(FIRST_ROLE,))
            keys.create(operator=maker, name="bootstrap", roles=[FIRST_ROLE], secret=secret)


def revoke(email: str, role: str = "") -> bool:
    """Take a role from an operator, and end their looks; with the last one sessions, keys and orders end too. False if there was none."""
    with transaction.atomic():
        user = _known(email)
        held = OperatorGrant.objects.filter(user=user)
        gone, _ = (held.filter(role=role) if role else held).delete()
        if not held.exists():
            _end_access(user)
        elif gone:
            _end_looks(user)
        if gone:
            _record(user, "tenants.operator.dismissed", f"{user.email}: {role or 'all roles'}")
    return bool(gone)


def set_password(email: str, password: str) -> None:
    """Set an operator's password; all their sessions and keys end. Raises NoAccount, Invalid."""
    check_password(password)
    with transaction.atomic():
        user = _known(email)
        user.set_password(password)
        User.objects.filter(id=user.id).update(password=user.password)
        _end_access(user)
        _record(user, "tenants.operator.password_set", user.email)


def reset_second_factor(email: str) -> bool:
    """Remove the second factors of an operator who lost them, and end their sessions and keys; False if there were none."""
    with transaction.atomic():
        user = _known(email)
        gone, _ = Authenticator.objects.filter(user_id=user.id).delete()
        _end_access(user)
        if gone:
            _record(user, "tenants.operator.second_factor_reset", user.email)
    return bool(gone)


def operators() -> list[OperatorRow]:
    """Return all operators by address: three queries."""
    roles: dict[object, list[str]] = {}
    for user_id, role in OperatorGrant.objects.order_by("role").values_list("user_id", "role"):
        roles.setdefault(user_id, []).append(role)
    users = User.objects.filter(is_operator=True).order_by("email").values_list("id", "email")
    proven = set(Authenticator.objects.filter(user__is_operator=True).values_list("user_id", flat=True))
    return [OperatorRow(email, tuple(roles.get(user_id, ())), user_id in proven) for user_id, email in users]


def check_role(role: str) -> None:
    """Raise `Invalid` for a role that does not exist."""
    if role not in OPERATOR_ROLES:
        raise Invalid(fields={"role": [f"Use one of {', '.join(OPERATOR_ROLES)}."]})


def _find(email: str) -> User | None:
    return User.objects.filter(email=check_email(email), is_operator=True).first()


def _known(email: str) -> User:
    user = _find(email)
    if user is None:
        raise NoAccount
    return user


def _end_access(user: User) -> None:
    """End the sessions, keys, looks and orders of an operator, which somebody else may hold."""
    _end_looks(user)
    exports.end_orders(operator_id=user.id, by=Operator(id=user.id, label=COMMAND), reason=WITHOUT_ACCESS)
    OperatorSession.objects.filter(user_id=user.id).delete()
    OperatorKey.objects.filter(user_id=user.id).delete()


def _end_looks(user: User) -> None:
    ending.end_all(operator_id=user.id, by=Operator(id=user.id, label=COMMAND), reason=ending.BY_ACCESS)


def _create(email: str, password: str) -> User:
    check_password(password)
    return User.objects.create_user(check_email(email), password, is_operator=True)


def _record(user: User, action: str, label: str) -> None:
    record_act(Operator(id=user.id, label=COMMAND), action, target=("operator", user.id, label), reason=REASON)
