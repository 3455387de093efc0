"""Forms of compute's pages."""

from collections.abc import Sequence
from typing import cast
from uuid import UUID

from django import forms

from compute.idle import rules, snooze
from compute.models import JobState
from compute.queries import SORTS, JobFilter

TABS = (
    ("", "All", ()),
    ("running", "Running", ("running",)),
    ("queued", "Queued", ("queued", "paused")),
    ("succeeded", "Succeeded", ("succeeded",)),
    ("failed", "Failed", ("failed",)),
    ("cancelled", "Cancelled", ("cancelled",)),
)


class JobListFilter(forms.Form):
    """Filter of the list of jobs; unknown values do not filter."""

    state = forms.ChoiceField(required=False, choices=[(key, label) for key, label, _ in TABS])
    search = forms.CharField(
        required=False, max_length=120, label="Search", widget=forms.TextInput(attrs={"type": "search"})
    )
    project = forms.ChoiceField(required=False, label="Project")
    device_class = forms.ChoiceField(required=False, label="Device")
    sort = forms.ChoiceField(required=False, choices=[(way + name, name) for name in SORTS for way in ("", "-")])

    def __init__(
        self, *args: object, projects: Sequence[tuple[str, str]], devices: Sequence[str], **kwargs: object
    ) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        for name, choices in (("project", projects), ("device_class", [(device, device) for device in devices])):
            cast("forms.ChoiceField", self.fields[name]).choices = [("", "Any"), *choices]

    def job_filter(self) -> JobFilter:
        """Return the query's filter."""
        self.is_valid()
        data = self.cleaned_data
        states = next((states for key, _, states in TABS if key == data.get("state")), ())
        return JobFilter(
            states=tuple(JobState(state) for state in states),
            project_id=UUID(data["project"]) if data.get("project") else None,
            device_class=data.get("device_class") or "",
            text=data.get("search") or "",
        )

    def words(self) -> str:
        """Return the filter as text, for an empty list."""
        data = self.cleaned_data
        names = dict(getattr(self.fields["project"], "choices", []))
        parts = [
            f"state {data['state']}" if data.get("state") else "",
            f"project {names.get(data['project'], '')}" if data.get("project") else "",
            f"device {data['device_class']}" if data.get("device_class") else "",
            f"name with “{data['search']}”" if data.get("search") else "",
        ]
        return "Filtered by " + ", ".join(part for part in parts if part) + "."


class CancelForm(forms.Form):
    """The reason for a cancellation, for the job's history."""

    reason = forms.CharField(required=False, max_length=500, label="Reason")


class SnoozeForm(forms.Form):
    """For how long an idle job keeps its devices, and why."""

    hours = forms.IntegerField(min_value=1, max_value=snooze.MOST_HOURS)
    reason = forms.CharField(max_length=snooze.REASON_CHARS)


class IdleRuleForm(forms.Form):
    """The figures of an idle rule."""

    busy_percent = forms.IntegerField(
        label="Busy for less than (%)",
        min_value=1,
        max_value=rules.MOST_PERCENT,
        help_text=f"1 to {rules.MOST_PERCENT}, of the time below.",
    )
    window_minutes = forms.IntegerField(
        label="Of the last (minutes)",
        min_value=1,
        max_value=rules.MOST_MINUTES,
        help_text=f"1 to {rules.MOST_MINUTES}. A longer time spares work that rests and goes on.",
    )
    grace_minutes = forms.IntegerField(
        label="Stop after the warning (minutes)",
        min_value=1,
        max_value=rules.MOST_MINUTES,
        help_text=f"1 to {rules.MOST_MINUTES}. Until then its person may snooze the stop.",
    )

    @property
    def figures(self) -> rules.Figures:
        """The figures of a valid form."""
        return rules.Figures(**{name: self.cleaned_data[name] for name in IdleRuleForm.base_fields})


class PoolRuleForm(IdleRuleForm):
    """The idle rule of a class of device. A form only parses; operations decide."""

    device_class = forms.CharField(
        label="Class of device",
        max_length=rules.CLASS_CHARS,
        required=False,
        help_text="As Fleet shows it, such as cpu. Empty: all classes without a rule of their own.",
    )
    reason = forms.CharField(label="Reason", max_length=400, help_text="It stands in the operator log.")
    field_order = ("device_class", "busy_percent", "window_minutes", "grace_minutes", "reason")
