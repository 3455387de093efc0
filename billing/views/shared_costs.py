"""The page of the rules by which shared cost is split between projects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from billing.allocation.shared_costs import set_shared_costs, shared_costs
from billing.allocation.sharing import BY_QUOTA, FIXED, ORGANISATION, PROJECT, RULES, TAG, Rule
from tenants.errors import ExchequerError
from tenants.models import Project
from tenants.web.form_posts import explain
from tenants.web.requests import TenantRequest
from tenants.web.views import page

LINE = re.compile(r"(organisation|project +\S+|tag +[^:]+?) *: *(\S.*)")
EXAMPLE = "Write a line as organisation: even, project research: by_use, or tag team=platform: fixed vision 60, lab 40."


class SharedCostsForm(forms.Form):
    """The rules, one a line."""

    rules = forms.CharField(
        label="Shared cost",
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false"}),
        help_text="One a line: what is shared, a colon, and how. Empty: each project pays what it causes.",
    )

    def __init__(self, data: object = None, *, slugs: Mapping[str, str], initial: object = None) -> None:
        super().__init__(data, initial=initial)  # type: ignore[arg-type]
        self._ids = {slug: project for project, slug in slugs.items()}

    def clean_rules(self) -> list[Rule]:
        """Return what was typed."""
        lines = [line.strip() for line in self.cleaned_data["rules"].splitlines() if line.strip()]
        return [self._read(line) for line in lines]

    def _read(self, line: str) -> Rule:
        found = LINE.fullmatch(line)
        words = found[2].split(maxsplit=1) if found else []
        if not found or words[0] not in RULES:
            raise forms.ValidationError(f"“{line[:60]}”: {EXAMPLE}")
        source, _, named = found[1].partition(" ")
        rest = words[1].strip() if len(words) > 1 else ""
        name, _, value = named.strip().partition("=")
        return Rule(
            source=source,
            how=words[0],
            project=self._id(name) if source == PROJECT else None,
            tag=(name.strip(), value.strip()) if source == TAG else None,
            resource=rest if words[0] == BY_QUOTA else "",
            shares=self._shares(rest) if words[0] == FIXED else {},
        )

    def _shares(self, text: str) -> dict[str, Decimal]:
        shares = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            slug, _, percent = part.rpartition(" ")
            try:
                shares[self._id(slug.strip())] = Decimal(percent.rstrip("%"))
            except InvalidOperation:
                raise forms.ValidationError(
                    f"“{part[:60]}”: give a project and a percentage, such as vision 60."
                ) from None
        return shares

    def _id(self, slug: str) -> str:
        if slug not in self._ids:
            raise forms.ValidationError(f"There is no project {slug[:60]}. Use the short name of a project.")
        return self._ids[slug]


@require_http_methods(["GET", "HEAD", "POST"])
@page("invoices.manage")
def shared_costs_page(request: TenantRequest) -> HttpResponse:
    """Show the rules, and save them."""
    slugs = {str(pk): slug for pk, slug in Project.objects.order_by("slug").values_list("pk", "slug")}
    initial = {"rules": "\n".join(_line(rule, slugs) for rule in shared_costs())}
    form = SharedCostsForm(request.POST or None, slugs=slugs, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            set_shared_costs(actor=request.actor, rules=form.cleaned_data["rules"])
        except ExchequerError as refused:
            explain(form, refused)
        else:
            messages.success(request, "Shared cost saved. Chargeback shows every month by these rules.")
            return redirect("shared-costs", request.tenant.slug)
    context = {"form": form, "slugs": slugs.values()}
    return render(request, "billing/shared_costs.html", context, status=422 if form.errors else 200)


def _line(rule: Rule, slugs: Mapping[str, str]) -> str:
    source = {
        ORGANISATION: "organisation",
        PROJECT: f"project {slugs.get(rule.project or '', rule.project)}",
        TAG: f"tag {'='.join(rule.tag or ())}",
    }[rule.source]
    shares = ", ".join(f"{slugs.get(name, name)} {percent.normalize():f}" for name, percent in rule.shares.items())
    return f"{source}: {' '.join(part for part in (rule.how, rule.resource, shares) if part)}"
