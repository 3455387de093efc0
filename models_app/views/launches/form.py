"""Shared parts of the forms that launch a job: the forms, the cost panel, refusals, and the initial values of a clone."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from billing.forms.fields import typed
from billing.queries.calendar import tenant_today
from billing.rating.quantity import WHOLE, share_of
from compute import labels
from compute import queries as work
from compute.jobs import jobs, signed_quotes
from compute.jobs.job_request import ON_DEMAND
from compute.jobs.kept import More
from models_app.forms.datasets import JobForm
from models_app.views.launches import array
from models_app.views.launches.array import Array
from models_app.views.launches.options import Refusal, quote_of, refusal_of, stopped
from models_app.views.launches.options import devices as offered_devices
from models_app.views.presets import launching as presets
from tenants import queries as tenancy
from tenants.errors import ExchequerError, Invalid, NotFound
from tenants.parsing import uuid_in
from tenants.web.idempotency import run_once
from tenants.web.problems import retry_after
from tenants.web.requests import TenantRequest

NO_DEVICE = {
    "icon": "cpu",
    "title": "No device available",
    "text": "No node has registered a device. Your administrator can start one; it then appears here.",
    "url": "",
    "label": "",
}


class Ordering(ABC):
    """The parts of a launch form for one request: options, input, and the resulting job request.

    `asks_first`: the fields required for the cost panel, `choose`: its prompt for them. `elsewhere`: fields that a
    refusal names differently from the form. `ending`: how a job ends that reaches its own limit; `resumes`: whether one that
    gave way continues from a checkpoint.
    """

    template: ClassVar[str]
    kind: ClassVar[str]
    meter: ClassVar[str]
    asks_first: ClassVar[Sequence[str]]
    choose: ClassVar[str]
    ending: ClassVar[str]
    resumes: ClassVar[bool] = True
    elsewhere: ClassVar[Mapping[str, str]] = {"max_seconds": "max_minutes", "dataset_version": "dataset"}
    form: JobForm

    def __init__(self, request: TenantRequest) -> None:
        self.request = request
        self.actor = request.actor
        self.currency = tenant_today().currency
        self.devices = offered_devices(self.currency, self.meter)
        self.projects = [(str(project.id), project.name) for project in tenancy.projects_for(self.actor, "jobs.launch")]

    @abstractmethod
    def spec(self) -> dict[str, Any]:
        """Return the spec of the job kind; call after the forms are valid."""

    @abstractmethod
    def missing(self) -> dict[str, str] | None:
        """Return what is missing before a job can be launched, and where to create it."""

    def array(self) -> Array | None:
        """Return what varies between the jobs of an array; None for one job. Call after the forms are valid."""
        return None

    @property
    def shares(self) -> list[str]:
        """The parts of a device that some class is open for, largest first."""
        offered = {share for device in self.devices for share in device.shares}
        return sorted(offered, key=lambda share: -(share_of(share) or 0))

    @property
    def all_forms(self) -> Sequence[forms.Form]:
        """All forms of the page, in order."""
        return (self.form,)

    def is_valid(self) -> bool:
        """Return whether every form is valid; all are checked, so that all faults show at once."""
        valid = [form.is_valid() for form in self.all_forms]
        return all(valid)

    def request_body(self, name: str = "") -> jobs.Submission:
        """Return what is asked for; call after the forms are valid."""
        data = self.form.cleaned_data
        return jobs.Submission(
            name=name or data["name"],
            kind=self.kind,
            project_id=self.project(),
            spec=self.spec(),
            device_class=data["device_class"],
            devices=data.get("devices") or 1,
            share=share_of(data["share"] or "1") or WHOLE,
            one_node=not data.get("spread"),
            node_labels=dict(one.split("=", 1) for one in data["node_labels"]),
            tier=data["tier"] or ON_DEMAND,
            max_seconds=data["max_minutes"] * 60 if data["max_minutes"] else None,
            max_cost=data["max_cost"],
            tags=self.tags(),
        )

    def waits_for(self) -> str:
        """Return the prompt for what must be chosen before there is a price; empty if complete."""
        return "" if all(self.request.POST.get(name) for name in self.asks_first) else self.choose

    def project(self) -> UUID:
        """Return the chosen project; call after the forms are valid."""
        return UUID(self.form.cleaned_data["project"])

    def origin(self) -> UUID | None:
        """Return the job that this one clones."""
        source = self._original()
        return source.id if source else None

    def tags(self) -> dict[str, str]:
        """Return the entered tags; a form without tag fields keeps those of the cloned job."""
        source = self._original()
        asked = self.form.add_prefix("tags") in self.form.data
        entered: dict[str, str] = self.form.all_tags()
        return {**source.tags, **entered} if source and not asked else entered

    def _original(self) -> work.JobDetail | None:
        source = _source(self.form.cleaned_data["clone"])
        return source if source and source.kind == self.kind else None

    def blame(self, refused: Invalid) -> None:
        """Attach each message of a refusal to its field."""
        for name, texts in refused.fields.items():
            own = self.elsewhere.get(name, name)
            self.form.add_error(own if own in self.form.fields else None, texts)

    def faults(self) -> list[str]:
        """Return every fault as a sentence, for the cost panel."""
        fields = {name: field for form in self.all_forms for name, field in form.fields.items()}
        errors = {name: texts for form in self.all_forms for name, texts in form.errors.items()}
        return [
            f"{fields[name].label}: {' '.join(map(str, texts))}" if name in fields else " ".join(map(str, texts))
            for name, texts in errors.items()
        ]

    def marked(self) -> list[str]:
        """Return the labels of the fields with faults."""
        return [str(field.label) for form in self.all_forms if form.is_bound for field in form if field.errors]

    def context(self, **more: Any) -> dict[str, Any]:
        """Return the template context."""
        chosen = self.form.data if self.form.is_bound else self.form.initial
        return {
            "form": self.form,
            "devices": self.devices,
            "several": any(device.total > 1 for device in self.devices),
            "shared": [device for device in self.devices if device.shares],
            "chosen_device": chosen.get("device_class") or (self.devices[0].name if self.devices else ""),
            "chosen_tier": chosen.get("tier") or ON_DEMAND,
            "marked": self.marked(),
            "choose": self.choose,
            "stopped": None if more.get("refusal") else stopped(self.actor),
            **more,
        }


def shown(parts: Ordering) -> HttpResponse:
    """Return the page with its initial values, or with what is missing."""
    answer = render(parts.request, parts.template, parts.context(missing=parts.missing()))
    # A step back finds this form with its key, and a second click launches nothing more: the browser may keep it.
    answer["Cache-Control"] = "private, no-cache"
    return answer


def launched(parts: Ordering) -> HttpResponse:
    """Launch the job; a refusal is shown on the form with its input kept."""
    refusal: Refusal | None = None
    status, headers = 422, {}
    if parts.is_valid():
        try:
            with transaction.atomic():
                return redirect(run_once(parts.request, parts.form.cleaned_data["key"], lambda: _submit(parts)))
        except Invalid as refused:
            parts.blame(refused)
        except ExchequerError as refused:
            several = parts.array()
            refusal = refusal_of(refused, parts.currency)
            if several:
                refusal = array.refusal_of(parts.actor, parts.request_body(), several, refusal)
            status, headers = refused.status, retry_after(refused)
            of = None if several else refusal.budget or refusal.quota_of
            may_ask = of is not None and parts.actor.can("approvals.request", of)
            unsaid = "request_more" in parts.request.POST and _more(parts) is None
            refusal = replace(refusal, askable=may_ask, unsaid=unsaid)
    answer = render(parts.request, parts.template, parts.context(refusal=refusal, missing=None), status=status)
    for name, value in headers.items():
        answer[name] = value
    return answer


def quoted(parts: Ordering) -> HttpResponse:
    """Return the cost panel for the current input; requested at every change."""
    waits_for = parts.waits_for()
    if waits_for:
        return _panel(parts, choose=waits_for)
    parts.form.fields["name"].required = False
    if not parts.is_valid():
        return _panel(parts, quote_faults=parts.faults())
    try:
        asked = parts.request_body(name=parts.form.cleaned_data["name"] or "quote")
        if several := parts.array():
            return _panel(parts, array=array.price(actor=parts.actor, asked=asked, array=several))
        order = jobs.check(actor=parts.actor, asked=asked)
        priced = jobs.estimate(order)
        offer = signed_quotes.sign(parts.actor, order, priced)
        shown = quote_of(parts.actor, order, priced, ending=parts.ending)
        return _panel(parts, quote=shown, offer=offer, resumes=parts.resumes)
    except Invalid as refused:
        parts.blame(refused)
        return _panel(parts, quote_faults=parts.faults())
    except ExchequerError as refused:
        return _panel(parts, quote_faults=[refused.message])


def cloned(request: TenantRequest, own: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """Return the initial values of a form that clones a job or starts from a preset, `own` of them read from its spec."""
    source = _source(uuid_in(request.GET.get("clone")))
    if source is None:
        return presets.started(request, uuid_in(request.GET.get("preset")), own)
    return {
        "clone": source.id,
        "name": source.name,
        "project": str(source.project_id),
        **own(source.spec),
        "device_class": source.device_class,
        "devices": source.devices,
        "share": source.share_said,
        "spread": not source.one_node,
        "node_labels": sorted(labels.as_set(source.node_labels)),
        "tier": source.tier,
        "max_minutes": max(1, source.max_seconds // 60),
        "max_cost": typed(source.max_cost.amount) if source.max_cost else None,
        "tags": source.tags,
    }


def _source(job_id: UUID | None) -> work.JobDetail | None:
    try:
        return work.job_detail(job_id) if job_id else None
    except NotFound:
        return None


def _more(parts: Ordering) -> More | None:
    """Return what to ask for, if the person chose to keep a refused launch."""
    reason = parts.request.POST.get("more_reason", "").strip()
    # The Enter key in another field presses this button, too: without a reason it is a launch.
    return More(reason=reason) if reason and parts.request.POST.get("request_more") else None


def _panel(parts: Ordering, **context: Any) -> HttpResponse:
    return render(parts.request, "models_app/_quote.html", context)


def _submit(parts: Ordering) -> str:
    """Launch at the price shown, bound as a quote; return where to go on. Or launch an array, or save a preset."""
    asked, origin, several = parts.request_body(), parts.origin(), parts.array()
    if several and "save_preset" not in parts.request.POST:
        return reverse("job-set", args=(parts.request.tenant.slug, array.launch(parts.request, asked, several)))
    if "save_preset" in parts.request.POST:
        if several:
            raise Invalid(
                fields={"vary": ["A preset keeps one value of each parameter. Empty the values to try first."]}
            )
        presets.save(parts.request, asked)
        return reverse("saved-launches", args=(parts.request.tenant.slug,))
    order = jobs.check(actor=parts.actor, asked=asked)
    quote_id, unbound = signed_quotes.bind(parts.actor, order, parts.request.POST.get("offer", ""))
    job = jobs.submit(actor=parts.actor, asked=replace(asked, quote_id=quote_id, more=_more(parts)), cloned_from=origin)
    if job.approval_id is not None:
        messages.success(parts.request, "Request sent. The job waits, and starts by itself when it is granted.")
    elif unbound:
        messages.info(parts.request, unbound)
    return reverse("job", args=(parts.request.tenant.slug, job.id))
