"""The form of one rule by which cost is shared between projects. A form only parses; operations decide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from django import forms

from billing.allocation.sharing import BY_QUOTA, BY_USE, EVEN, FIXED, ORGANISATION, PROJECT, TAG, Rule
from billing.forms.fields import FractionField

HOW = {
    EVEN: "the same for each project",
    BY_USE: "by what each project caused",
    BY_QUOTA: "by the limits of the projects",
    FIXED: "by fixed percentages",
}
NO_PROJECT = "Lines of no project, such as a minimum"
WITH_TAG = "Work with a tag"


class RuleForm(forms.Form):
    """One rule: what is shared, and how; a percentage for each project that receives a fixed share."""

    what = forms.ChoiceField(label="What is shared")
    tag = forms.CharField(label="Tag", required=False, max_length=161, help_text="Of work with a tag, as team=data.")
    how = forms.ChoiceField(label="How it is split", choices=list(HOW.items()), initial=BY_USE)
    resource = forms.ChoiceField(
        label="Limits of", required=False, help_text="Where the limits of the projects decide."
    )

    def __init__(
        self,
        data: Any = None,
        *,
        projects: Mapping[str, str],
        resources: Mapping[str, str],
        rule: Rule | None = None,
    ) -> None:
        super().__init__(data, initial=_initial(rule) if rule else None)
        offered = [(f"{PROJECT}:{one}", name) for one, name in projects.items()]
        one_of = [(ORGANISATION, NO_PROJECT), (TAG, WITH_TAG), ("All of a project", offered)]
        known = {**resources, **({rule.resource: rule.resource} if rule and rule.resource not in resources else {})}
        self.fields["what"].choices = one_of  # type: ignore[attr-defined]
        self.fields["resource"].choices = [("", "–"), *((one, it) for one, it in known.items() if one)]  # type: ignore[attr-defined]
        self._shares = {f"share_{one}": one for one in projects}
        for name, one in self._shares.items():
            self.fields[name] = FractionField(
                label=f"Per cent for {projects[one]}",
                required=False,
                max_digits=7,
                decimal_places=4,
                min_value=0,
            )
        self._names = projects

    def clean(self) -> dict[str, Any]:
        """Put what is missing beside its field."""
        data = super().clean() or {}
        if data.get("what") == TAG and "=" not in data.get("tag", ""):
            self.add_error("tag", "Give name and value of the tag, such as team=data.")
        if data.get("how") == BY_QUOTA and not data.get("resource"):
            self.add_error("resource", "Choose the limits that decide.")
        return data

    @property
    def rule(self) -> Rule:
        """The rule of a valid form."""
        data = self.cleaned_data
        source, _, project = data["what"].partition(":")
        name, _, value = data["tag"].partition("=")
        return Rule(
            source=source,
            how=data["how"],
            project=project or None,
            tag=(name.strip(), value.strip()) if source == TAG else None,
            resource=data["resource"] if data["how"] == BY_QUOTA else "",
            shares={self._shares[one]: Decimal(data[one]) for one in self._shares if data[one]}
            if data["how"] == FIXED
            else {},
        )

    def shares(self) -> Iterator[tuple[str, forms.BoundField]]:
        """Yield the name of each project with the field of its share."""
        for name, one in self._shares.items():
            yield self._names[one], self[name]


def words(rule: Rule, projects: Mapping[str, str], resources: Mapping[str, str]) -> tuple[str, str]:
    """Return in words what a rule shares, and how."""
    what = {ORGANISATION: NO_PROJECT, TAG: f"{WITH_TAG}: {'='.join(rule.tag or ())}"}.get(rule.source)
    if rule.how == FIXED:
        parts = (f"{projects.get(one, one)} {percent.normalize():f} %" for one, percent in rule.shares.items())
        how = ", ".join(parts)
    elif rule.how == BY_QUOTA:
        how = f"{HOW[BY_QUOTA]}: {resources.get(rule.resource, rule.resource)}"
    else:
        how = HOW[rule.how]
    return what or f"All of {projects.get(rule.project or '', rule.project or '')}", how


def changed(rules: Sequence[Rule], act: str, n: int | None, rule: Rule | None = None) -> list[Rule]:
    """Return the rules after an act on the `n`-th: remove, up, or save `rule` in its place, at the end without `n`."""
    kept, at = list(rules), None if n is None or not 1 <= n <= len(rules) else n - 1
    if act == "remove" and at is not None:
        del kept[at]
    elif act == "up" and at:
        kept[at - 1 : at + 1] = [kept[at], kept[at - 1]]
    elif rule is not None and at is not None:
        kept[at] = rule
    elif rule is not None:
        kept.append(rule)
    return kept


def _initial(rule: Rule) -> dict[str, Any]:
    return {
        "what": f"{PROJECT}:{rule.project}" if rule.source == PROJECT else rule.source,
        "tag": "=".join(rule.tag or ()),
        "how": rule.how,
        "resource": rule.resource,
        **{f"share_{one}": f"{percent.normalize():f}" for one, percent in rule.shares.items()},
    }
