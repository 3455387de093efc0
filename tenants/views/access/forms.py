"""Forms of rights. A form only parses; operations decide."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, cast
from uuid import UUID

from django import forms
from django.utils import timezone

from tenants.access.permissions import PERMISSIONS
from tenants.access.wording import by_noun, permission_words
from tenants.fields.days import DayField
from tenants.grants.grants import Holder
from tenants.grants.queries import AccessRow, GrantRow, RoleRow
from tenants.parsing import uuid_in
from tenants.queries import ProjectRow

WHOLE = "whole"
Choices = list[tuple[str, str]]


class AccessFilter(forms.Form):
    """Filter of who may do what; invalid values are ignored and marked."""

    holder = forms.CharField(required=False, max_length=254, label="Holder")
    role = forms.ChoiceField(required=False, label="Role")
    project = forms.ChoiceField(required=False, label="Counts in")
    permission = forms.ChoiceField(required=False, label="Who may")

    def __init__(self, data: Any, *, roles: Sequence[RoleRow], projects: Sequence[ProjectRow]) -> None:
        super().__init__(data, auto_id="filter_%s")
        self.names = {str(project.id): project.name for project in projects}
        names = [(role.name, role.name.capitalize() if role.built_in else role.name) for role in roles]
        may = [(noun.title, [(one, permission_words(one)) for one in noun.permissions]) for noun in by_noun()]
        _offer(self, "role", [("", "Any"), *names])
        _offer(self, "project", [("", "Anywhere"), (WHOLE, "The whole organisation"), *self.names.items()])
        _offer(self, "permission", [("", "Anything"), *may])

    def chosen(self) -> dict[str, str]:
        """Return the valid filters in use."""
        self.is_valid()
        return {name: value for name, value in self.cleaned_data.items() if value}

    def fits(self, row: AccessRow) -> bool:
        """Return whether a grant fits role, place and permission. One in the whole organisation counts in each project."""
        only = self.chosen()
        place, permission = only.get("project"), only.get("permission")
        here = None if place in (None, WHOLE) else UUID(place)
        return (
            only.get("role") in (None, row.role)
            and (place is None or row.grant.project_id in (None, here))
            and (permission is None or permission in row.permissions)
        )

    def names_holder(self, *texts: str) -> bool:
        """Return whether one of these names contains the text of the filter."""
        wanted = self.chosen().get("holder", "").lower()
        return any(wanted in text.lower() for text in texts)

    def words(self) -> str:
        """Return the filters in use as a sentence."""
        only = self.chosen()
        place = only.get("project", "")
        parts = [
            f"whose name contains “{only['holder']}”" if "holder" in only else "",
            f"with the role {only['role']}" if "role" in only else "",
            f"in {self.names.get(place, 'the whole organisation')}" if place else "",
            f"who may {permission_words(only['permission'])}" if "permission" in only else "",
        ]
        return f"Nobody {', '.join(part for part in parts if part)}."


class GiveGrant(forms.Form):
    """A role for one holder, in the whole organisation or in one project, with a last day or without."""

    holder = forms.ChoiceField(label="Person, group or service account")
    role = forms.ChoiceField(label="Role")
    project = forms.ChoiceField(label="Where")
    expires_at = DayField(label="Last day", required=False, help_text="Empty: until it is withdrawn.")

    def __init__(
        self,
        data: Any = None,
        *,
        holders: list[tuple[str, Choices]],
        roles: Choices,
        projects: Sequence[ProjectRow],
        initial: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data, auto_id="grant_%s", initial=initial)
        _offer(self, "holder", [("", "Choose one"), *(one for one in holders if one[1])])
        _offer(self, "role", [("", "Choose one"), *roles])
        where = [(WHOLE, "The whole organisation"), *((str(project.id), project.name) for project in projects)]
        _offer(self, "project", where)

    def clean_expires_at(self) -> datetime | None:
        """Return the end of the last day in the organisation's time zone."""
        day: date | None = self.cleaned_data["expires_at"]
        if day is None:
            return None
        return datetime.combine(day + timedelta(days=1), time(), tzinfo=timezone.get_current_timezone())

    def wanted(self) -> dict[str, Any]:
        """Return the arguments of the operation; call after the form is valid."""
        data = self.cleaned_data
        return {
            "holder": holder_from(data["holder"]),
            "role": uuid_in(data["role"]) or data["role"],
            "project_id": None if data["project"] == WHOLE else UUID(data["project"]),
            "expires_at": data["expires_at"],
        }


class RoleForm(forms.Form):
    """A role of the organisation's own. `confirmed` is set once the person has seen whom a change affects."""

    name = forms.CharField(label="Name", max_length=60, help_text="Such as Launcher. Members see it beside their name.")
    description = forms.CharField(label="What it is for", max_length=200, required=False)
    permissions = forms.MultipleChoiceField(
        label="Permissions",
        required=False,
        choices=[(one, permission_words(one)) for one in sorted(PERMISSIONS)],
        widget=forms.CheckboxSelectMultiple,
    )
    confirmed = forms.BooleanField(required=False, widget=forms.HiddenInput)

    def clean_permissions(self) -> list[str]:
        """Require one permission besides that which every role includes."""
        chosen: list[str] = self.cleaned_data["permissions"]
        if not chosen:
            raise forms.ValidationError("Choose at least one permission.")
        return chosen


class NewGroup(forms.Form):
    """The name of a group."""

    name = forms.CharField(label="Name", max_length=60, help_text="Such as Research.")


class JoinGroup(forms.Form):
    """Who is to join a group."""

    user_id = forms.ChoiceField(label="Person")

    def __init__(self, data: Any = None, *, people: Choices) -> None:
        super().__init__(data, auto_id="join_%s")
        _offer(self, "user_id", [("", "Choose one"), *people])


class NewServiceAccount(forms.Form):
    """A program that gets rights of its own."""

    name = forms.CharField(label="Name", max_length=60, help_text="The program, such as nightly-training.")
    description = forms.CharField(label="What it is for", max_length=200, required=False)


def holder_value(row: GrantRow) -> str:
    """Return the value of the form's choice for the holder of a grant."""
    kinds = (("user", row.user_id), ("group", row.group_id), ("account", row.service_account_id))
    return next(f"{kind}:{row_id}" for kind, row_id in kinds if row_id)


def holder_from(value: str) -> Holder:
    """Return the holder that a choice of the form names."""
    kind, _, text = value.partition(":")
    row_id = UUID(text)
    return {
        "user": Holder(user_id=row_id),
        "group": Holder(group_id=row_id),
        "account": Holder(service_account_id=row_id),
    }[kind]


def _offer(form: forms.Form, name: str, choices: Sequence[Any]) -> None:
    cast("forms.ChoiceField", form.fields[name]).choices = list(choices)
