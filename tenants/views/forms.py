"""Forms of the tenants app. A form only parses; operations decide."""

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, ClassVar, cast
from uuid import UUID, uuid4

from django import forms
from django.utils import timezone
from django.utils.functional import lazy

from tenants.access.permissions import PRESETS, ROLE_WORDS
from tenants.audit import AuditAction
from tenants.audit.words import noun_words
from tenants.clock import timezones
from tenants.fields.days import DayField
from tenants.models import OUTCOMES, User

KEY_LIVES = ((30, "30 days"), (90, "90 days"), (365, "One year"), (0, "Until revoked"))
THEMES = (("auto", "Follow the system"), ("light", "Light"), ("dark", "Dark"))


ACTS = (
    ("", "Everybody"),
    ("all", "All, including the system"),
    ("system", "Exchequer itself"),
    ("reads", "Who saw or took what"),
)

OUTCOME_CHOICES = (("", "Any"), *((one, one.capitalize()) for one in OUTCOMES))


def _subjects() -> list[tuple[str, str]]:
    nouns = sorted({tuple(action.split(".")[:2]) for action in AuditAction.known})
    often = Counter(noun for _, noun in nouns)
    named = ((f"{app}.{noun}.", noun_words(noun) + f" ({app})" * (often[noun] > 1)) for app, noun in nouns)
    return [("", "Any"), *sorted(named, key=lambda choice: choice[1].lower())]


def _last_day() -> DayField:
    return DayField(label="Until the end of", required=False, help_text="Empty: permanently.")


def _end_of(day: date | None) -> datetime | None:
    return _midnight(day + timedelta(days=1)) if day else None


class Preferences(forms.ModelForm[User]):
    """Preferences of one person."""

    theme = forms.ChoiceField(label="Theme", choices=THEMES)

    class Meta:
        model = User
        fields = ("name", "single_keys")
        labels: ClassVar = {"name": "Your name", "single_keys": "Single-key shortcuts"}
        help_texts: ClassVar = {
            "name": "Shown in the sidebar instead of your email address.",
            "single_keys": "Keys such as g, j, c and / work alone outside text fields.",
        }

    def __init__(self, *args: Any, bound: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["theme"] = self.instance.theme
        if bound:  # the name is shown in the person's other organisations, too
            self.fields["name"].disabled = True
            self.fields["name"].help_text = "Log in with your password to change it."
        self.order_fields(("name", "theme", "single_keys"))

    def clean_name(self) -> str:
        """Return the name, which appears on other people's pages and files: printable characters only."""
        name = str(self.cleaned_data["name"])
        if not name.isprintable():
            raise forms.ValidationError("Use printable characters.")
        return name

    def save(self, commit: bool = True) -> User:
        """Store the theme with the rest."""
        self.instance.theme = self.cleaned_data["theme"]
        return super().save(commit)


class AuditFilter(forms.Form):
    """Filter of the audit log; invalid values are ignored and marked."""

    actor = forms.CharField(required=False, max_length=254, label="Actor")
    acts = forms.ChoiceField(required=False, label="Acts of", choices=ACTS)
    action = forms.ChoiceField(required=False, label="Action on", choices=lazy(_subjects, list))
    outcome = forms.ChoiceField(required=False, label="Outcome", choices=OUTCOME_CHOICES)
    target_type = forms.CharField(required=False, max_length=40, label="Object", widget=forms.Select)
    target = forms.CharField(required=False, max_length=64, label="Object id")
    since = DayField(required=False, label="From")
    until = DayField(required=False, label="To")

    def chosen(self) -> dict[str, Any]:
        """Return the keyword arguments of the query."""
        self.is_valid()
        data = self.cleaned_data
        filters: dict[str, Any] = {
            "actor": data.get("actor"),
            "acts": {"": "people", "system": "system", "reads": "reads"}.get(data.get("acts", ""), ""),
            "action": data.get("action"),
            "target_type": data.get("target_type"),
            "target_id": data.get("target"),
            "outcome": data.get("outcome"),
            "since": _midnight(data.get("since")),
            "until": _midnight(data["until"] + timedelta(days=1)) if data.get("until") else None,
        }
        return {name: value for name, value in filters.items() if value}

    def offer_types(self, names: Sequence[str]) -> None:
        """Offer these types of objects, and the one that was asked for."""
        asked = self.cleaned_data.get("target_type", "")
        names = sorted({*names, asked} - {""}, key=noun_words)
        self.fields["target_type"].widget.choices = [("", "Any"), *((one, noun_words(one)) for one in names)]


class NewApiKey(forms.Form):
    """A key for programs: a preset or exact scopes, and its expiry."""

    form_key = forms.UUIDField(widget=forms.HiddenInput, required=False, initial=uuid4)
    name = forms.CharField(
        max_length=120,
        label="Name",
        help_text="Who or what will use it, such as ci-nightly.",
    )
    days = forms.TypedChoiceField(label="Works for", choices=KEY_LIVES, coerce=int, initial=90)
    service_account = forms.TypedChoiceField(
        label="Belongs to",
        required=False,
        coerce=UUID,
        empty_value=None,
        help_text="The key of a service account has only scopes of its roles, and outlives your membership.",
    )
    project = forms.TypedChoiceField(
        label="Limited to",
        required=False,
        coerce=UUID,
        empty_value=None,
        help_text="A key of one project sees and does nothing outside it.",
    )
    presets = forms.MultipleChoiceField(
        label="Presets",
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="Choose only what the program needs. Presets beyond your own role are not offered.",
    )
    scopes = forms.MultipleChoiceField(label="Single scopes", required=False, widget=forms.CheckboxSelectMultiple)

    def __init__(
        self,
        data: Any = None,
        *,
        own: frozenset[str],
        accounts: Sequence[tuple[str, str]],
        projects: Sequence[tuple[str, str]],
        initial: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data, auto_id="key_%s", initial=initial)
        self._offer("service_account", [("", "You"), *accounts])
        self._offer("project", [("", "The whole organisation"), *projects])
        if not accounts:
            del self.fields["service_account"]
        self.offered = {preset.key: preset for preset in PRESETS if preset.permissions <= own}
        self._offer("presets", [(key, preset.label) for key, preset in self.offered.items()])
        self._offer("scopes", [(scope, scope) for scope in sorted(own)])

    def _offer(self, name: str, choices: Sequence[tuple[str, str]]) -> None:
        cast("forms.ChoiceField", self.fields[name]).choices = list(choices)

    def clean(self) -> dict[str, Any]:
        """Combine presets and single scopes into `cleaned_data["wanted"]`."""
        data = self.cleaned_data
        wanted = set(data.get("scopes") or ())
        for key in data.get("presets") or ():
            wanted |= self.offered[key].permissions
        if not wanted and not {"presets", "scopes"} & set(self.errors):
            self.add_error("presets", "Choose at least one preset or scope.")
        return {**data, "wanted": sorted(wanted)}


class InviteMember(forms.Form):
    """Whom to invite, in which role."""

    email = forms.EmailField(label="Email address", max_length=254)
    role = forms.ChoiceField(label="Role")

    def __init__(self, data: Any = None, *, roles: Sequence[str]) -> None:
        super().__init__(data, auto_id="invite_%s")
        choices = [(role, f"{role.capitalize()}: {ROLE_WORDS[role]}") for role in roles]
        cast("forms.ChoiceField", self.fields["role"]).choices = choices
        if "engineer" in roles:
            self.fields["role"].initial = "engineer"


class JoinAsNew(forms.Form):
    """The account of an invited person without one."""

    name = forms.CharField(label="Your name", max_length=120)
    password = forms.CharField(
        label="Password",
        max_length=200,
        strip=False,
        help_text="At least 12 characters; no common password, and not similar to your name.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )


class QuotaLimit(forms.Form):
    """A scope's limit of a resource; empty means no limit. `was` is the limit that the person saw."""

    scope = forms.CharField(label="For", required=False, max_length=80)
    resource = forms.CharField(label="Resource", max_length=80)
    limit = forms.IntegerField(label="Limit", required=False, min_value=0, max_value=2**53 - 1)
    was = forms.CharField(widget=forms.HiddenInput, required=False, max_length=20)
    confirmed = forms.BooleanField(widget=forms.HiddenInput, required=False)


class QuotaRequest(forms.Form):
    """A request for a higher quota; with a last day the raise ends by itself."""

    quota = forms.ChoiceField(label="Quota")
    limit = forms.IntegerField(label="New limit", min_value=1, max_value=2**53 - 1)
    last_day = _last_day()
    reason = forms.CharField(label="Reason", max_length=500, help_text="Who answers reads it.")

    def __init__(self, *args: Any, quotas: Sequence[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        cast(forms.ChoiceField, self.fields["quota"]).choices = [("", "Choose one"), *quotas]

    def until(self) -> datetime | None:
        """Return when the raise ends; None without a last day."""
        return _end_of(self.cleaned_data["last_day"])


class AccessRequest(forms.Form):
    """A request for a role; with a last day it ends by itself."""

    role = forms.ChoiceField(label="Role")
    project = forms.ChoiceField(label="Where", required=False)
    last_day = _last_day()
    reason = forms.CharField(label="Reason", max_length=500, help_text="Who answers reads it.")

    def __init__(
        self, data: Any = None, *, roles: Sequence[tuple[str, str]], projects: Sequence[tuple[str, str]]
    ) -> None:
        super().__init__(data, auto_id="access_%s")
        cast(forms.ChoiceField, self.fields["role"]).choices = [("", "Choose one"), *roles]
        cast(forms.ChoiceField, self.fields["project"]).choices = [("", "Whole organisation"), *projects]

    def until(self) -> datetime | None:
        """Return when the role ends; None without a last day."""
        return _end_of(self.cleaned_data["last_day"])


class ApprovalAnswer(forms.Form):
    """Approve or decline a request, with a reason if wanted."""

    answer = forms.ChoiceField(choices=[("approve", "Approve"), ("decline", "Decline")])
    reason = forms.CharField(label="Reason", max_length=500, required=False)


class Organisation(forms.Form):
    """The organisation's name, and the time zone of its days and months."""

    name = forms.CharField(label="Name", max_length=120)
    timezone = forms.ChoiceField(
        label="Time zone of reports",
        choices=lazy(lambda: [(zone, zone) for zone in sorted(timezones())], list),
        help_text="Defines when days and months start. Usage that is already metered keeps its day.",
    )
    self_approval = forms.BooleanField(
        label="Allow the only member to approve their own requests",
        required=False,
        help_text="Applies while the organisation has one member. Changes are recorded in the audit log.",
    )
    second_factor_required = forms.BooleanField(
        label="Require a second factor",
        required=False,
        help_text="Members without one set it up before they continue. Keys of programs stay as they are.",
    )


def _midnight(day: date | None) -> datetime | None:
    return datetime.combine(day, time(), tzinfo=timezone.get_current_timezone()) if day else None
