"""Forms of the tenancy room. A form only parses; operations decide."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any, ClassVar, cast

from django import forms
from django.utils.functional import lazy

from tenants.audit import AuditAction
from tenants.models import User

THEMES = (("auto", "Follow the system"), ("light", "Light"), ("dark", "Dark"))


def _subjects() -> list[tuple[str, str]]:
    nouns = sorted({tuple(action.split(".")[:2]) for action in AuditAction.known})
    return [
        ("", "Any"),
        *((f"{app}.{noun}.", f"{noun.replace('_', ' ').capitalize()}") for app, noun in nouns),
    ]


class Preferences(forms.ModelForm[User]):
    """How Exchequer looks and behaves for one person."""

    theme = forms.ChoiceField(label="Theme", choices=THEMES)

    class Meta:
        model = User
        fields = ("name", "single_keys")
        labels: ClassVar = {"name": "Your name", "single_keys": "Single-key shortcuts"}
        help_texts: ClassVar = {
            "name": "Shown in the sidebar instead of your e-mail address.",
            "single_keys": "Keys such as g, j, c and / act on their own outside text fields.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["theme"] = self.instance.theme
        self.order_fields(("name", "theme", "single_keys"))

    def save(self, commit: bool = True) -> User:
        """Store the theme with the rest."""
        self.instance.theme = self.cleaned_data["theme"]
        return super().save(commit)


class AuditFilter(forms.Form):
    """Which entries of the audit log to show; what is not valid is left out of the filter and marked."""

    actor = forms.CharField(required=False, max_length=254, label="Actor")
    action = forms.ChoiceField(required=False, label="Action on", choices=lazy(_subjects, list))
    target = forms.CharField(required=False, max_length=64, label="Object id")
    since = forms.DateField(
        required=False,
        label="From (UTC)",
        widget=forms.DateInput(attrs={"type": "date"}),
    )
    until = forms.DateField(required=False, label="To (UTC)", widget=forms.DateInput(attrs={"type": "date"}))

    def chosen(self) -> dict[str, Any]:
        """Return the keyword arguments for the query."""
        self.is_valid()
        data = self.cleaned_data
        filters: dict[str, Any] = {
            "actor": data.get("actor"),
            "action": data.get("action"),
            "target_id": data.get("target"),
            "since": _midnight(data.get("since")),
            "until": _midnight(data["until"] + timedelta(days=1)) if data.get("until") else None,
        }
        return {name: value for name, value in filters.items() if value}


class NewApiKey(forms.Form):
    """A key for programs."""

    name = forms.CharField(
        max_length=120,
        label="Name",
        help_text="Who or what will use it, for example ci-nightly.",
    )
    scopes = forms.MultipleChoiceField(
        label="Scopes",
        widget=forms.CheckboxSelectMultiple,
        help_text="Give only what the program needs. Your own role is the limit.",
    )

    def __init__(self, data: Any = None, *, scopes: list[str]) -> None:
        super().__init__(data, auto_id="key_%s")
        cast("forms.MultipleChoiceField", self.fields["scopes"]).choices = [(scope, scope) for scope in scopes]


def _midnight(day: date | None) -> datetime | None:
    return datetime.combine(day, time(), tzinfo=UTC) if day else None
