"""REST endpoints for jobs whose devices do nothing, or do little."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.fields import MoneySerializer
from compute.api.quote_shapes import Rounded
from compute.api.serializers import JobDetailSerializer
from compute.cluster.idle_work import idle_of_all
from compute.idle import snooze
from compute.queries import job_detail
from compute.queries.idle import idle_jobs
from compute.queries.right_size import job_use
from tenants.operators.api.base import OperatorView
from tenants.web.body_fields import checked
from tenants.web.openapi import page_of
from tenants.web.views import ApiView


class IdleJobSerializer(serializers.Serializer[Any]):
    """A running job whose devices do nothing."""

    job = serializers.UUIDField(source="job_id")
    name = serializers.CharField()
    project = serializers.CharField()
    device_class = serializers.CharField()
    devices = serializers.IntegerField()
    submitted_by = serializers.CharField(source="submitted_by_label")
    idle_since = serializers.DateTimeField()
    stops_at = serializers.DateTimeField(help_text="Then it stops with a checkpoint, unless it works again.")
    snoozes = serializers.IntegerField()
    snooze_reason = serializers.CharField()
    lost = MoneySerializer(help_text="What its devices cost since `idle_since`.")
    per_hour = MoneySerializer(help_text="What is lost in each further hour.")


class IdleWorkSerializer(serializers.Serializer[Any]):
    """A running job of an organisation whose devices do nothing. Neither the job, nor its project or person is named."""

    organisation = serializers.CharField(help_text="its short name")
    job = serializers.UUIDField(source="job_id")
    device_class = serializers.CharField()
    devices = serializers.IntegerField()
    idle_since = serializers.DateTimeField()
    stops_at = serializers.DateTimeField()
    snoozes = serializers.IntegerField()
    lost = MoneySerializer(help_text="What its devices cost the organisation since `idle_since`.")
    per_hour = MoneySerializer(help_text="What it loses in each further hour.")


class IdleWorkOfAll(OperatorView):
    """Idle work of all organisations."""

    permissions: ClassVar = {"GET": "fleet.view"}

    @extend_schema(operation_id="idle_work_list", responses=page_of(IdleWorkSerializer))
    def get(self, request: Request) -> Response:
        """List the running jobs whose devices do nothing, most money lost first, one currency after the other, at most 200."""
        return self.whole(idle_of_all(), IdleWorkSerializer)


class SnoozeSerializer(serializers.Serializer[Any]):
    """For how long an idle job keeps its devices, and why."""

    hours = serializers.IntegerField(min_value=1, max_value=snooze.MOST_HOURS)
    reason = serializers.CharField(max_length=snooze.REASON_CHARS)


class IdleJobs(ApiView):
    """Idle jobs."""

    permissions = {"GET": "jobs.view"}

    @extend_schema(responses=page_of(IdleJobSerializer))
    def get(self, request: Request) -> Response:
        """List the running jobs whose devices do nothing, most money lost first, at most 200."""
        return self.whole(idle_jobs(), IdleJobSerializer)


class JobSnooze(ApiView):
    """Snoozes the stop of an idle job."""

    permissions = {"POST": "jobs.cancel"}

    @extend_schema(request=SnoozeSerializer, responses=JobDetailSerializer)
    def post(self, request: Request, job_id: UUID) -> Response:
        """Let an idle job keep its devices for some hours from now; three times an attempt."""
        data = checked(SnoozeSerializer(data=request.data))
        snooze.snooze(actor=self.actor, job_id=job_id, hours=data["hours"], reason=data["reason"])
        return Response(JobDetailSerializer(job_detail(job_id)).data)


class RankUseSerializer(serializers.Serializer[Any]):
    """One rank over all attempts of its job; `busy` is the part of the sampled time."""

    rank = serializers.IntegerField()
    sampled_s = Rounded(decimals=6)
    busy = Rounded(decimals=6)
    peak_memory_bytes = serializers.IntegerField()
    memory_bytes = serializers.IntegerField(help_text="of its device")


class JobUseSerializer(serializers.Serializer[Any]):
    """How a job used its devices."""

    ranks = RankUseSerializer(many=True)
    energy_kwh = Rounded(decimals=9, allow_null=True, help_text="null where no device measures its power")
    advice = serializers.ListField(child=serializers.CharField())


class JobUse(ApiView):
    """Use of a job's devices."""

    permissions = {"GET": "jobs.view"}

    @extend_schema(responses=JobUseSerializer)
    def get(self, request: Request, job_id: UUID) -> Response:
        """Return peaks and utilisation by rank, energy, and advice on the number and size of devices."""
        return Response(JobUseSerializer(job_use(job_id)).data)
