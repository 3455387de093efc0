"""Alerts of an endpoint: opened once when a threshold is crossed, resolved when the value is back.

No row is locked: the database allows one open alert per kind and subject, and the
transaction that inserts it sends the notification.
"""

from __future__ import annotations

from uuid import UUID

from django.db.models import Avg, Count, Q, StdDev, Value
from django.db.models.functions import Abs, Least

from models_app.access import endpoint_audience
from models_app.events import HealthAlertOpened
from models_app.measures import rules
from models_app.models import Endpoint, EndpointState, Feedback, HealthAlert
from models_app.monitoring import recent_windows
from tenants.clock import DatabaseNow
from tenants.events.events import publish
from tenants.isolation.scoping import current_tenant_id
from tenants.notifications import notifications

LAST_LABELS = 500
FAR = 1e70
"""Maximum error that is counted: the squares of its squares can still be summed for the spread."""
TITLES = {
    "drift": "input drift",
    "output": "predictions have drifted",
    "accuracy": "accuracy fell",
    "latency": "slow answers",
    "errors": "errors",
}


def evaluate(endpoint_id: UUID) -> int:
    """Evaluate the served version, open and resolve alerts; return how many were opened.

    Runs in the open scope, in the transaction that stored the data.
    """
    endpoint = Endpoint.objects.select_related("version").filter(id=endpoint_id).first()
    if endpoint is None or endpoint.state == EndpointState.UNDEPLOYED:
        return 0
    version = endpoint.version
    minutes = recent_windows.last_minutes(endpoint.id, version.id)
    findings = [
        *rules.traffic(version.baseline, recent_windows.last_rows(endpoint.id, version.id)),
        *rules.waits(minutes, endpoint.slo_ms),
        *rules.faults(minutes),
        *rules.ground_truth(labels(endpoint.id, version.id), version.metrics),
    ]
    known = {
        (kind, subject): alert_id
        for alert_id, kind, subject in HealthAlert.objects.filter(
            endpoint_id=endpoint.id, resolved_at=None
        ).values_list("id", "kind", "subject")
    }
    bad = {(finding.kind, finding.subject): finding for finding in findings if finding.bad}
    over = [known[what] for one in findings if (what := (one.kind, one.subject)) in known and what not in bad]
    if over:
        HealthAlert.objects.filter(id__in=over, resolved_at=None).update(resolved_at=DatabaseNow())
    return sum(_open(endpoint, finding) for what, finding in bad.items() if what not in known)


def resolve(endpoint_id: UUID) -> int:
    """Close all open alerts of an endpoint; return how many."""
    rows = HealthAlert.objects.filter(endpoint_id=endpoint_id, resolved_at=None)
    return rows.update(resolved_at=DatabaseNow())


def resolve_of_other_versions(endpoint_id: UUID, version_id: UUID) -> int:
    """Close alerts about versions that the endpoint no longer serves; the new version has its own traffic."""
    rows = HealthAlert.objects.filter(endpoint_id=endpoint_id, resolved_at=None).exclude(version_id=version_id)
    return rows.update(resolved_at=DatabaseNow())


def labels(endpoint_id: UUID, version_id: UUID) -> rules.Labels:
    """Return the sums of the newest feedback of a version."""
    newest = Feedback.objects.filter(endpoint_id=endpoint_id, version_id=version_id).order_by("-predicted_at")
    # Sum over the subquery itself: with `id IN (...)` the planner may evaluate it for each row.
    measured = Q(error__isnull=False)
    near = Least(Abs("error"), Value(FAR))  # rows from before such errors were refused: one would spoil every sum
    found = (
        newest.annotate(square=near * near)
        .values("id", "correct", "error", "square")[:LAST_LABELS]
        .aggregate(
            count=Count("id"),
            right=Count("id", filter=Q(correct=True)),
            squared=Avg("square", filter=measured),
            spread=StdDev("square", sample=True, filter=measured),
        )
    )
    return rules.Labels(**{name: value or 0 for name, value in found.items()})


def handle_opened(alert_id: UUID) -> None:
    """Notify those who may act on an endpoint of an alert that is still open."""
    alert = HealthAlert.objects.select_related("endpoint").filter(id=alert_id, resolved_at=None).first()
    if alert is None:
        return
    notifications.notify(
        permission=endpoint_audience(alert.endpoint),
        kind="health_alert",
        title=f"Endpoint {alert.endpoint.name}: {TITLES[alert.kind]}",
        body=alert.message,
        path=f"endpoints/{alert.endpoint_id}/",
    )


def _open(endpoint: Endpoint, finding: rules.HealthFinding) -> bool:
    alert = HealthAlert(
        endpoint=endpoint,
        version_id=endpoint.version_id,
        kind=finding.kind,
        subject=finding.subject,
        value=finding.value,
        threshold=finding.threshold,
        message=finding.message,
    )
    alert.claim_tenant()
    HealthAlert.objects.bulk_create([alert], ignore_conflicts=True)
    if not HealthAlert.objects.filter(id=alert.id).exists():
        return False  # already open
    publish(HealthAlertOpened(tenant_id=current_tenant_id(), endpoint_id=endpoint.id, alert_id=alert.id))
    return True
