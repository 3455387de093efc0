"""The page of the tags that launches must carry."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from billing.allocation.required_tags import required_tags, set_required_tags, work_kinds
from billing.forms.required_tags import RequiredTagsForm
from tenants.errors import ExchequerError
from tenants.web.form_posts import explain
from tenants.web.requests import TenantRequest
from tenants.web.views import page


@require_http_methods(["GET", "HEAD", "POST"])
@page("invoices.manage")
def required_tags_page(request: TenantRequest) -> HttpResponse:
    """Show the required tags, and save them."""
    form = RequiredTagsForm(request.POST or None, tags=required_tags(), kinds=work_kinds())
    if request.method == "POST" and form.is_valid():
        try:
            set_required_tags(actor=request.actor, tags=form.tags)
        except ExchequerError as refused:
            explain(form, refused)
        else:
            messages.success(request, "Required tags saved. New work must carry them now.")
            return redirect("required-tags", request.tenant.slug)
    return render(request, "billing/required_tags.html", {"form": form}, status=422 if form.errors else 200)
