"""What the launch form does with an array: its price, its launch, and its refusal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.contrib import messages

from compute.arrays import arrays, preview
from compute.arrays.preview import ArrayPrice
from compute.jobs.job_request import Submission
from models_app.views.launches.options import RAISE, Refusal, Sentence, budget_sentence
from tenants.access.actor import Actor
from tenants.web.requests import TenantRequest

FEWER = "Give fewer values, or set a shorter time limit."


@dataclass(frozen=True)
class Array:
    """What makes an array of a launch: values by path, the cap of all jobs, and how many run at once."""

    vary: dict[str, list[Any]]
    cap: Decimal | None
    most_at_once: int | None


def price(*, actor: Actor, asked: Submission, array: Array) -> ArrayPrice:
    """Return what the array would cost. Raises Invalid, PriceMissing."""
    return preview.price(actor=actor, asked=asked, vary=array.vary, cap=array.cap)


def launch(request: TenantRequest, asked: Submission, array: Array) -> UUID:
    """Launch the array and return the id of its set. Raises what `arrays.launch` raises."""
    made = arrays.launch(
        actor=request.actor, asked=asked, vary=array.vary, cap=array.cap, most_at_once=array.most_at_once
    )
    messages.success(request, "Launched. Its jobs start as devices become free.")
    return made.id


def refusal_of(actor: Actor, asked: Submission, array: Array, one: Refusal) -> Refusal:
    """Return the refusal of an array, from that of the job at which it stopped: the jobs count together."""
    if one.budget is not None:
        priced = price(actor=actor, asked=asked, array=array)
        stands = budget_sentence(one.budget)
        text = f"The {priced.jobs} jobs may cost up to {{}} together. {stands.text} Nothing was launched."
        return replace(one, text=Sentence(text, (priced.worst, *stands.parts)), steps=[FEWER, RAISE])
    if one.quota_of is not None:
        text = f"The jobs count together. {one.text.text}"
        return replace(one, text=Sentence(text, one.text.parts), steps=[FEWER, *one.steps[1:]])
    return one
