"""Posted forms: POST-only URLs, and refusals attached to their forms."""

import functools
from collections.abc import Callable

from django import forms
from django.http import HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect

from tenants.errors import ExchequerError, Invalid, NotFound, PermissionDenied
from tenants.web.idempotency import run_once
from tenants.web.requests import TenantRequest

View = Callable[[TenantRequest], HttpResponse]


def redirect_get_to(back: str) -> Callable[[View], View]:
    """Let a view receive only POST, and redirect a GET to the page `back`.

    Stands below `page`, which checks the permission.

    A form's response may be shown at such a URL, and reloading it sends a GET.
    """

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def run(request: TenantRequest) -> HttpResponse:
            if request.method == "POST":
                return view(request)
            if request.method in ("GET", "HEAD"):
                return redirect(back, request.tenant.slug)
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])

        return run

    return decorate


def done(form: forms.Form, act: Callable[[], object]) -> bool:
    """Execute an operation if the form is valid, explain its refusal in the form, and return whether it was done.

    A form that names its fields otherwise than the operation has an `explain` of its own.
    Raises NotFound and PermissionDenied, which are pages of their own.
    """
    if not form.is_valid():
        return False
    try:
        act()
    except (NotFound, PermissionDenied):
        raise
    except ExchequerError as refused:
        getattr(form, "explain", functools.partial(explain, form))(refused)
        return False
    return True


def once(request: TenantRequest, form: forms.Form, act: Callable[[], str]) -> HttpResponse | None:
    """Execute an operation once for what a form with a `form_key` was sent with, and redirect to the URL that it returns.

    None if the form was not sent, is not valid, or was refused: it is shown, and says why. Raises as `done`.
    """
    led: list[str] = []
    if done(form, lambda: led.append(run_once(request, form.cleaned_data["form_key"], act))):
        return redirect(led[0])
    return None


def explain(form: forms.Form, refused: ExchequerError) -> None:
    """Add a domain error to a form: to the fields it names, else to the form."""
    named = refused.fields if isinstance(refused, Invalid) else {}
    for field, sentences in named.items():
        for sentence in sentences:
            form.add_error(field if field in form.fields else None, sentence)
    if not named:
        form.add_error(None, refused.message)
