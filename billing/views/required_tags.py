"""The page of the tags that every launch must carry."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from billing.allocation.required_tags import Required, required_tags, set_required_tags
from tenants.errors import ExchequerError
from tenants.web.form_posts import explain
from tenants.web.requests import TenantRequest
from tenants.web.views import page


class RequiredTagsForm(forms.Form):
    """The required tags, one a line."""

    tags = forms.CharField(
        label="Required tags",
        required=False,
        max_length=20_000,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false"}),
        help_text="One a line: a name alone allows any value, name = value, value only these. Empty: nothing is required.",
    )

    def read(self) -> list[Required]:
        """Return what was typed; call after it is valid."""
        lines = [line.strip() for line in self.cleaned_data["tags"].splitlines() if line.strip()]
        return [_read(line) for line in lines]


@require_http_methods(["GET", "HEAD", "POST"])
@page("invoices.manage")
def required_tags_page(request: TenantRequest) -> HttpResponse:
    """Show the required tags, and save them."""
    form = RequiredTagsForm(request.POST or None, initial={"tags": "\n".join(map(_line, required_tags()))})
    if request.method == "POST" and form.is_valid():
        try:
            set_required_tags(actor=request.actor, tags=form.read())
        except ExchequerError as refused:
            explain(form, refused)
        else:
            messages.success(request, "Required tags saved. Every launch must carry them now.")
            return redirect("required-tags", request.tenant.slug)
    return render(request, "billing/required_tags.html", {"form": form}, status=422 if form.errors else 200)


def _read(line: str) -> Required:
    name, _, values = line.partition("=")
    return Required(name.strip(), tuple(value.strip() for value in values.split(",") if value.strip()))


def _line(one: Required) -> str:
    return f"{one.name} = {', '.join(one.values)}" if one.values else one.name
