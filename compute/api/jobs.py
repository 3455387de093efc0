"""REST endpoints for quotes, jobs, logs, metrics, devices and utilisation."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing.money import Money
from billing.pricing import quotes
from compute import kinds, queries
from compute.api import quote_shapes, serializers
from compute.jobs import jobs, request_body
from compute.models import JobState
from compute.queries import device_hours, spot
from tenants import quotas
from tenants.clock import now
from tenants.errors import Invalid
from tenants.parsing import parse_moment, parse_uuid, parse_whole
from tenants.web.openapi import page_of
from tenants.web.pagination import PAGE, whole
from tenants.web.views import ApiView

AFTER = OpenApiParameter("after", int, description="Only what comes after this position or step.")
FILTERS = [OpenApiParameter(name, str) for name in ("state", "project", "kind", "device_class", "name", "job_set")]
FILTERS.append(OpenApiParameter("tag", str, many=True, description="name:value; a job has all that are given."))


class Quotes(ApiView):
    """Quotes for launches."""

    permissions = {"POST": "jobs.launch"}
    reads_any_field = True  # the job kind checks its own fields

    @extend_schema(request=serializers.JobRequestSerializer, responses={201: quote_shapes.QuoteSerializer})
    def post(self, request: Request) -> Response:
        """Return a job's expected cost; nothing is held. A launch with the same body holds money at this unit price."""
        order = jobs.check(actor=self.actor, asked=request_body.submission(self.body()))
        estimate = jobs.estimate(order)
        quote = quotes.bind(
            actor=self.actor, project_id=order.project_id, body=order.body(), estimate=estimate,
            limit_s=order.max_seconds, forecast=order.forecast.json(),
        )  # fmt: skip
        limits = queries.limits_for(order, quotas.person_of(self.actor))
        at_once = [one.left_after for one in limits if one.waits]
        least_s, most_s = order.typical_range()
        answer = {
            "id": quote.id,
            "typical": estimate.typical,
            "least": estimate.least,
            "most": estimate.most,
            "worst": estimate.worst,
            "unit_amount": Money(estimate.unit_amount, estimate.currency),
            "price_version": estimate.price_version,
            "typical_seconds": estimate.paid(order.typical_s),
            "least_seconds": estimate.paid(least_s),
            "most_seconds": estimate.paid(most_s),
            "max_seconds": order.max_seconds,
            **quote_shapes.needs(order, estimate),
            "start_up": quote_shapes.start_up(order, estimate),
            "based_on": quote_shapes.based_on(order),
            "expected_wait_s": queries.expected_wait_s(order.device_class),
            "spot": spot.beside_on_demand(order, estimate),
            "budget_left_after": estimate.budget_left_after,
            "quota_left_after": min(at_once, default=None),
            "quotas": limits,
            "expires_at": quote.expires_at,
        }
        return Response(quote_shapes.QuoteSerializer(answer).data, status=201)


class Jobs(ApiView):
    """Jobs of the tenant."""

    permissions = {"GET": "jobs.view", "POST": "jobs.launch"}
    reads_any_field = True  # the job kind checks its own fields

    @extend_schema(
        operation_id="jobs_list",
        parameters=[*FILTERS, *PAGE],
        responses=page_of(serializers.JobSerializer),
    )
    def get(self, request: Request) -> Response:
        """List jobs, newest first."""
        rows = queries.job_list(_filter(request), before=self.before(UUID), limit=self.page_size())
        return self.paginated(rows, serializers.JobSerializer, lambda row: [row.id])

    @extend_schema(request=serializers.JobRequestSerializer, responses={201: serializers.JobDetailSerializer})
    def post(self, request: Request) -> Response:
        """Queue a job: its quota is reserved and its worst case held, or nothing is stored."""
        job = jobs.submit(actor=self.actor, asked=request_body.submission(self.body()))
        return Response(serializers.JobDetailSerializer(queries.job_detail(job.id)).data, status=201)


class Job(ApiView):
    """One job with its attempts."""

    permissions = {"GET": "jobs.view"}

    @extend_schema(responses=serializers.JobDetailSerializer)
    def get(self, request: Request, job_id: UUID) -> Response:
        """Return the job with its attempts."""
        return Response(serializers.JobDetailSerializer(queries.job_detail(job_id)).data)


class _Act(ApiView):
    """Base of the actions on one job; they return the job in its new state."""

    def answer(self, job_id: UUID, status: int = 200) -> Response:
        """Return the job."""
        return Response(serializers.JobDetailSerializer(queries.job_detail(job_id)).data, status=status)


class JobCancel(_Act):
    """Cancels a job."""

    permissions = {"POST": "jobs.cancel"}

    @extend_schema(request=None, responses=serializers.JobDetailSerializer)
    def post(self, request: Request, job_id: UUID) -> Response:
        """Cancel the job in whatever state; its seconds so far stay billed."""
        jobs.cancel(actor=self.actor, job_id=job_id)
        return self.answer(job_id)


class JobPause(_Act):
    """Pauses a job."""

    permissions = {"POST": "jobs.cancel"}

    @extend_schema(request=None, responses=serializers.JobDetailSerializer)
    def post(self, request: Request, job_id: UUID) -> Response:
        """Pause the job; a running one saves a checkpoint first."""
        jobs.pause(actor=self.actor, job_id=job_id)
        return self.answer(job_id)


class JobResume(_Act):
    """Resumes a paused job."""

    permissions = {"POST": "jobs.launch"}

    @extend_schema(request=None, responses=serializers.JobDetailSerializer)
    def post(self, request: Request, job_id: UUID) -> Response:
        """Requeue the job and hold its money again."""
        jobs.resume(actor=self.actor, job_id=job_id)
        return self.answer(job_id)


class JobClone(_Act):
    """Submits a job again."""

    permissions = {"POST": "jobs.launch"}

    @extend_schema(request=None, responses={201: serializers.JobDetailSerializer})
    def post(self, request: Request, job_id: UUID) -> Response:
        """Submit a new job with the same request."""
        return self.answer(jobs.clone(actor=self.actor, job_id=job_id).id, status=201)


class JobLogs(ApiView):
    """The log of a job."""

    permissions = {"GET": "jobs.view"}

    @extend_schema(parameters=[AFTER, *PAGE], responses=page_of(serializers.LogSerializer))
    def get(self, request: Request, job_id: UUID) -> Response:
        """Return log lines in order; poll with `after` = the last position while the job runs."""
        after = self.before(whole) or _whole(request, "after", 0)
        lines = queries.logs_after(job_id, after=after, limit=self.page_size() + 1)
        return self.paginated(lines, serializers.LogSerializer, lambda line: [line.position])


class JobMetrics(ApiView):
    """The metrics of a job."""

    permissions = {"GET": "jobs.view"}

    @extend_schema(parameters=[AFTER], responses=page_of(serializers.MetricSerializer))
    def get(self, request: Request, job_id: UUID) -> Response:
        """Return metrics by step, each from the latest attempt that reached it."""
        return self.whole(
            queries.metrics(job_id, after_step=_whole(request, "after", -1)), serializers.MetricSerializer
        )


class Devices(ApiView):
    """Devices of the pool."""

    permissions = {"GET": "devices.view"}

    @extend_schema(responses=page_of(serializers.DeviceSerializer))
    def get(self, request: Request) -> Response:
        """List the pool's devices."""
        return self.whole(queries.devices(), serializers.DeviceSerializer)


class UtilisationView(ApiView):
    """Allocation and use of devices."""

    permissions = {"GET": "usage.view"}

    @extend_schema(
        parameters=[OpenApiParameter(name, str) for name in ("from", "to", "group_by")],
        responses=page_of(serializers.UtilisationSerializer),
    )
    def get(self, request: Request) -> Response:
        """Return device seconds by group over whole UTC hours; default: the last 24 hours by hour and class."""
        end = _moment(request, "to") or now()
        start = _moment(request, "from") or end - timedelta(hours=24)
        groups = request.query_params.get("group_by", "hour,device_class").split(",")
        return self.whole(device_hours.utilisation(start, end, groups), serializers.UtilisationSerializer)


def _filter(request: Request) -> queries.JobFilter:
    query = request.query_params
    states = tuple(state for state in query.get("state", "").split(",") if state)
    if set(states) - set(JobState.values):
        raise Invalid(fields={"state": [f"Choose among {', '.join(JobState.values)}."]})
    if any(":" not in tag for tag in query.getlist("tag")):
        raise Invalid(fields={"tag": ["Give a tag as name:value."]})
    tags = dict(tag.split(":", 1) for tag in query.getlist("tag"))
    return queries.JobFilter(
        states=states,
        project_id=parse_uuid(query["project"], "project") if query.get("project") else None,
        kind=kinds.get(query["kind"]).name if query.get("kind") else "",
        device_class=query.get("device_class", ""),
        tags=tags,
        text=query.get("name", ""),
        set_id=parse_uuid(query["job_set"], "job_set") if query.get("job_set") else None,
    )


def _whole(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    return parse_whole(text, name, "Use a whole number.") if text else default


def _moment(request: Request, name: str) -> datetime | None:
    text = request.query_params.get(name)
    return parse_moment(text, name) if text else None
