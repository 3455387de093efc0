"""REST endpoints for job sets: jobs that were launched together under one money cap."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.fields import MoneySerializer
from compute.api.serializers import JobRequestSerializer
from compute.arrays import arrays
from compute.jobs import request_body
from compute.queries import sets
from tenants.errors import Invalid
from tenants.web.openapi import page_of
from tenants.web.pagination import PAGE
from tenants.web.views import ApiView


class JobSetSerializer(serializers.Serializer[Any]):
    """A job set; its state and its cost are those of its jobs."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    kind = serializers.CharField()
    project = serializers.CharField()
    state = serializers.CharField()
    jobs = serializers.DictField(child=serializers.IntegerField(), help_text="Jobs by state, each place counted once.")
    cap = MoneySerializer(allow_null=True)
    cost = MoneySerializer(allow_null=True)
    earlier_costs = MoneySerializer(many=True)
    most_at_once = serializers.IntegerField(allow_null=True)
    varied = serializers.ListField(child=serializers.CharField())
    launched_by = serializers.UUIDField(allow_null=True)
    launched_at = serializers.DateTimeField()
    cancelled_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(
        allow_null=True, help_text="When all its jobs had ended; null again after a retry"
    )


class BestSerializer(serializers.Serializer[Any]):
    """The best value of a metric among the jobs of a set that succeeded."""

    metric = serializers.CharField()
    value = serializers.FloatField()
    better = serializers.CharField(help_text="higher or lower")
    job = serializers.UUIDField()
    name = serializers.CharField(help_text="Of the job")


class JobSetDetailSerializer(JobSetSerializer):
    """A job set with the best of its results."""

    best = BestSerializer(many=True)


class JobSetMemberSerializer(serializers.Serializer[Any]):
    """One job of a set."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    index = serializers.IntegerField()
    values = serializers.DictField()
    state = serializers.CharField()
    cause = serializers.CharField(allow_blank=True)
    cost = MoneySerializer(allow_null=True)
    metrics = serializers.DictField(help_text="The values reported last.")


class JobArrayRequestSerializer(JobRequestSerializer):
    """A job, and what differs between the jobs of the array. It takes no quote and no request for more."""

    quote = None  # type: ignore[assignment]
    request_more = None  # type: ignore[assignment]

    vary = serializers.DictField(
        child=serializers.ListField(),
        help_text="Lists of values by the path of the field that they replace, such as `params.learning_rate`: a job for each combination, at most 100.",
    )
    cap = serializers.CharField(
        required=False, allow_null=True, help_text="The most that all its jobs may spend together."
    )
    most_at_once = serializers.IntegerField(required=False, allow_null=True, min_value=1, max_value=1000)


class JobSets(ApiView):
    """Job sets of the tenant."""

    permissions = {"GET": "jobs.view", "POST": "jobs.launch"}
    reads_any_field = True  # the job kind checks its own fields

    @extend_schema(operation_id="job_sets_list", parameters=PAGE, responses=page_of(JobSetSerializer))
    def get(self, request: Request) -> Response:
        """List job sets, newest first."""
        rows = sets.set_list(before=self.before(UUID), limit=self.page_size())
        return self.paginated(rows, JobSetSerializer, lambda row: [row.id])

    @extend_schema(request=JobArrayRequestSerializer, responses={201: JobSetSerializer})
    def post(self, request: Request) -> Response:
        """Launch a job array: a job for each combination of values, all of them or none."""
        body = dict(self.body())
        vary, most = body.pop("vary", None), body.pop("most_at_once", None)
        try:
            cap = request_body.amount(body.pop("cap", None))
        except Invalid as fault:
            raise Invalid(fields={"cap": next(iter(fault.fields.values()))}) from None
        if most is not None and (isinstance(most, bool) or not isinstance(most, int)):
            raise Invalid(fields={"most_at_once": ["Give a whole number from 1 to 1000."]})
        asked = request_body.submission(body)
        made = arrays.launch(actor=self.actor, asked=asked, vary=vary, cap=cap, most_at_once=most)
        return Response(JobSetSerializer(sets.set_detail(made.id)).data, status=201)


class JobSet(ApiView):
    """One job set."""

    permissions = {"GET": "jobs.view"}

    @extend_schema(responses=JobSetDetailSerializer)
    def get(self, request: Request, job_set_id: UUID) -> Response:
        """Return the set, with the best value of each metric that its jobs ended with."""
        found = JobSetSerializer(sets.set_detail(job_set_id)).data
        return Response(found | {"best": BestSerializer(sets.best(job_set_id), many=True).data})


class JobSetJobs(ApiView):
    """The jobs of a set."""

    permissions = {"GET": "jobs.view"}

    @extend_schema(parameters=PAGE, responses=page_of(JobSetMemberSerializer))
    def get(self, request: Request, job_set_id: UUID) -> Response:
        """List its jobs in the order of their launch, with the values that differ; one run again comes last."""
        rows = sets.members(job_set_id, before=self.before(UUID), limit=self.page_size())
        return self.paginated(rows, JobSetMemberSerializer, lambda row: [row.id])


class JobSetCancel(ApiView):
    """Cancels the jobs of a set."""

    permissions = {"POST": "jobs.cancel"}

    @extend_schema(request=None, responses=JobSetSerializer)
    def post(self, request: Request, job_set_id: UUID) -> Response:
        """Cancel each of its jobs that has not ended; their seconds so far stay billed."""
        arrays.cancel(actor=self.actor, set_id=job_set_id)
        return Response(JobSetSerializer(sets.set_detail(job_set_id)).data)


class JobSetRetry(ApiView):
    """Launches failed jobs of a set again."""

    permissions = {"POST": "jobs.launch"}

    @extend_schema(request=None, responses={201: JobSetSerializer})
    def post(self, request: Request, job_set_id: UUID) -> Response:
        """Launch its jobs that failed or were cancelled again, under the same cap."""
        arrays.retry_failed(actor=self.actor, set_id=job_set_id)
        return Response(JobSetSerializer(sets.set_detail(job_set_id)).data, status=201)
