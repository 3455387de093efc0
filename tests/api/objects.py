"""One of everything in a tenant, by the name of the parameter that routes give it."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from billing import queries as billing_queries
from billing.budgets import budgets
from billing.invoices import disputing, numbers
from billing.metering import meters
from billing.metering.metering import record_usage
from billing.models import CreditNote, CreditNoteLine, Hold, Invoice, InvoiceLine, UsageBatch
from compute.devices.base import Found
from compute.fleet import nodes
from compute.models import Job, JobSet
from models_app.endpoints import deployments, endpoint_keys
from models_app.models import Dataset, DatasetVersion, Model, ModelVersion, PipelineRun, Preset, ScheduleRun
from models_app.pipelines import pipelines
from models_app.schedules import schedules
from tenants import quotas
from tenants.access.actor import Actor
from tenants.approvals import quota_requests
from tenants.clock import now
from tenants.grants import grants, groups, roles, service_accounts
from tenants.identity import api_keys, invitations
from tenants.identity.providers import configuration, domains, group_claims, scim_tokens
from tenants.isolation.scoping import tenant_scope
from tenants.models import ExternalIdentity, Notification, Tenant, TenantExport, WebhookDelivery
from tenants.webhooks import webhooks
from tests.support import factories, selling
from tests.support.selling import provision_defaults
from tests.support.usage import interval

EMPTY = {"sha256": "0" * 64, "size": 1}

COLUMNS = [
    {"name": "a", "kind": "numeric", "distinct": 100, "integer": False, "missing": 0},
    {"name": "t", "kind": "categorical", "distinct": 2, "integer": False, "missing": 0},
]


def one_of_everything(tenant: Tenant) -> dict[str, UUID]:
    """Create a member, a key, a budget, an invoice, a job, a dataset, a model and an endpoint; return their ids."""
    actor = factories.actor_for(tenant)
    project_id = factories.default_project_id(tenant)
    member = factories.make_member(tenant, "engineer")
    with tenant_scope(tenant.id):
        provision_defaults(tenant.id)
        key = api_keys.create_api_key(actor=actor, name="a key", scopes=["jobs.view"])
        invitation = invitations.invite(actor=actor, email="nora@example.org", role="viewer")
        role = roles.create_role(actor=actor, name="Launcher", permissions=["jobs.view", "jobs.launch"])
        group = groups.create_group(actor=actor, name="A team")
        groups.add_member(actor=actor, group_id=group.id, user_id=member.id)
        account = service_accounts.create_service_account(actor=actor, name="nightly")
        grant = grants.give(actor=actor, holder=grants.Holder(group_id=group.id), role="engineer")
        made = webhooks.create_webhook(actor=actor, name="a hook", url="https://hooks.example/x", types=["job.failed"])
        delivery = webhooks.send_test(actor=actor, webhook_id=made.webhook.id)
        WebhookDelivery.objects.filter(id=delivery.id).update(state="delivered", next_at=None)
        notification = Notification.objects.create(user=member, kind="hint", title="A hint")
        quotas.set_limit(actor=actor, resource="devices:serving", limit=3)
        approval = quota_requests.request(
            actor=Actor.member(tenant_id=tenant.id, user_id=member.id, email=member.email, role="engineer"),
            resource="devices:serving",
            limit=4,
            reason="a second endpoint",
        )
        budget = budgets.create_budget(actor=actor, amount=Decimal(1000), at_limit="notify")
        held = Hold.objects.create(
            subject="outside:1",
            project_id=project_id,
            period=now().date().replace(day=1),
            currency="EUR",
            amount=0,
            meter="inference_requests",
            quantity=5,
            expires_at=now() + timedelta(days=1),
        )
        meter = meters.define(actor=actor, title="Seats", unit="seat", event_type="seats.used", aggregation="max")
        batch = UsageBatch.objects.create(
            sender_kind="user", sender="nora", accepted=0, held=0, amount=0, currency="EUR"
        )
        record_usage([interval(project_id, now() - timedelta(seconds=60), 30)])
        dataset = Dataset.objects.create(name="numbers", created_by=actor.id, created_by_label=actor.label)
        version = DatasetVersion.objects.create(
            dataset=dataset, number=1, filename="n.csv", source_key="s", data_key="d", rows=3, state="ready", **EMPTY
        )
        job_set = JobSet.objects.create(name="a set", kind="array", project_id=project_id, currency="EUR")
        job = Job.objects.create(
            name="a job",
            set=job_set,
            set_index=1,
            kind="train",
            project_id=project_id,
            spec={
                "recipe": "tabular.classifier",
                "dataset": str(dataset.id),
                "dataset_version": str(version.id),
                "params": {},
                "target": "t",
            },
            device_class="cpu",
            tier="on_demand",
            max_seconds=60,
            submitted_by=actor.id,
            submitted_by_label=actor.label,
            unit_amount=Decimal("0.0001"),
            currency="EUR",
        )
        model = Model.objects.create(name="a model")
        model_version = ModelVersion.objects.create(
            model=model,
            number=1,
            stage="production",
            job_id=job.id,
            project_id=project_id,
            dataset_version=version,
            recipe="tabular.classifier",
            recipe_version="1",
            recipe_digest="0" * 64,
            params={},
            metrics={},
            signature={"columns": []},
            artefact_key=f"t/{tenant.id}/weights",
            artefact_sha256="0" * 64,
            artefact_size=1,
            signature_key=f"t/{tenant.id}/signature",
            signature_sha256="0" * 64,
            signature_size=1,
        )
        endpoint = deployments.deploy(actor=actor, name="an-endpoint", version_id=model_version.id)
        preset = Preset.objects.create(
            name="weekly", project_id=project_id, body={"kind": "train"}, created_by_label=actor.label
        )
        endpoint_key = endpoint_keys.create(actor=actor, endpoint_id=endpoint.id, name="a key")
        weekly = pipelines.create(
            actor=actor,
            project_id=project_id,
            name="a pipeline",
            steps={"steps": [{"name": "report", "kind": "report"}]},
        )
        run = PipelineRun.objects.create(
            pipeline=weekly,
            set=JobSet.objects.create(project_id=project_id, kind="pipeline", name=weekly.name, currency="EUR"),
            project_id=project_id,
            version=1,
            definition=weekly.definition,
            trigger="person",
            launched_by=actor.id,
            launched_by_label=actor.label,
        )
        schedule = schedules.create(
            actor=actor,
            wanted={"name": "a schedule", "cron": "@yearly", "pipeline": weekly.id, "zone": "Europe/Berlin"},
        )
        ScheduleRun.objects.create(schedule=schedule, due_at=now(), outcome="missed")
        provider = configuration.save(
            actor=actor,
            wanted=configuration.Wanted(kind="oidc", name="idp", issuer="https://idp.example", client_id="x"),
        )
        domain = domains.add(actor=actor, name="org.example")
        domains.prove(actor=actor, domain_id=domain.id, records=[domains.row_of(domain).record_text])
        token = scim_tokens.create(actor=actor, name="provisioning")
        mapped = groups.create_group(actor=actor, name="From the provider")
        mapping = group_claims.map_group(actor=actor, group_id=mapped.id, claim="people")
        identity = ExternalIdentity.objects.create(provider=provider, subject="s", user=member, email=member.email)
        return {
            "domain_id": domain.id,
            "token_id": token.id,
            "mapping_id": mapping.id,
            "identity_id": identity.id,
            "user_id": member.id,
            "job_set_id": job_set.id,
            "key_id": key.id,
            "invitation_id": invitation.id,
            "role_id": role.id,
            "group_id": group.id,
            "account_id": account.id,
            "grant_id": grant.id,
            "notification_id": notification.id,
            "webhook_id": made.webhook.id,
            "delivery_id": delivery.id,
            "approval_id": approval.id,
            "budget_id": budget.id,
            "batch_id": batch.id,
            "meter_id": meter.id,
            "hold_id": held.id,
            "book_id": billing_queries.price_books()[0].id,
            "invoice_id": (invoice_id := billing_queries.invoices()[0].id),
            "note_id": _credit_note(invoice_id),
            "dispute_id": _dispute(actor, invoice_id),
            "job_id": job.id,
            "dataset_id": dataset.id,
            "data_version_id": version.id,
            "version_id": model_version.id,
            "model_id": model.id,
            "endpoint_id": endpoint.id,
            "pipeline_id": weekly.id,
            "run_id": run.id,
            "preset_id": preset.id,
            "schedule_id": schedule.id,
            "endpoint_key_id": endpoint_key.id,
            "project_id": project_id,
            "holder_id": member.id,
            "object_id": dataset.id,
            "export_id": TenantExport.objects.create(
                state="ready",
                name=f"t/{tenant.id}/exports/none",
                ordered_by="owner",
                expires_at=now() + timedelta(days=1),
            ).id,
        }


def _credit_note(invoice_id: UUID | None) -> UUID:
    """Return the id of a credit note, which an operator issued."""
    first = billing_queries.invoice_lines(invoice_id or uuid4())[0]
    with selling.role("exchequer_operator"):
        number = numbers.take(numbers.CREDIT_NOTES)
        note = CreditNote.objects.create(
            invoice_id=invoice_id,
            series_id=number.series_id,
            number=number.number,
            label=number.label,
            reason="a node failed",
            subtotal=1,
            tax=0,
            total=1,
            off_due=1,
            content_hash=b"0" * 32,
            issued_by="tests",
        )
        # What reconciliation compares agrees, and the line is one that the invoice shows.
        line = InvoiceLine.objects.create(
            id=first.id, invoice_id=invoice_id, n=1, kind="usage", list_amount=1, exact_amount=1, amount=1
        )
        CreditNoteLine.objects.create(note=note, line=line, amount=1)
        Invoice.objects.filter(pk=invoice_id).update(credited=1)
    return note.id


def _dispute(actor: Actor, invoice_id: UUID | None) -> UUID:
    """Return the id of an open dispute of the invoice's first line."""
    line = billing_queries.invoice_lines(invoice_id or uuid4())[0]
    return disputing.open_dispute(
        actor=actor, invoice_id=invoice_id or uuid4(), line_id=line.id, reason="twice the hours that we used"
    )


def missing() -> dict[str, UUID]:
    """Return ids of nothing."""
    names = (
        "domain_id",
        "token_id",
        "mapping_id",
        "identity_id",
        "user_id",
        "key_id",
        "invitation_id",
        "role_id",
        "group_id",
        "account_id",
        "grant_id",
        "notification_id",
        "webhook_id",
        "delivery_id",
        "approval_id",
        "budget_id",
        "batch_id",
        "meter_id",
        "hold_id",
        "book_id",
        "invoice_id",
        "note_id",
        "dispute_id",
        "job_id",
        "job_set_id",
        "dataset_id",
        "data_version_id",
        "version_id",
        "model_id",
        "endpoint_id",
        "endpoint_key_id",
        "pipeline_id",
        "run_id",
        "preset_id",
        "schedule_id",
        "project_id",
        "holder_id",
        "object_id",
        "export_id",
    )
    return {name: uuid4() for name in names}


def launchable(tenant: Tenant) -> dict[str, Any]:
    """Return a launchable job for the API: its dataset is ready and has two columns, and two devices exist."""
    ids = one_of_everything(tenant)
    found = [Found(f"cpu-{number}", "cpu", "cpu", f"CPU {number} of host h", number, 2**32) for number in range(2)]
    nodes.register(name="n1", hostname="h", boot=uuid4(), found=found, missing_layers=[])
    with tenant_scope(tenant.id):
        provision_defaults(tenant.id)
        version = DatasetVersion.objects.get(dataset_id=ids["dataset_id"])
        DatasetVersion.objects.filter(id=version.id).update(rows=200, target="t", columns=COLUMNS)
    return {
        "name": "race",
        "kind": "train",
        "project": "default",
        "recipe": "tabular.classifier",
        "dataset": str(ids["dataset_id"]),
        "params": {},
        "device_class": "cpu",
        "max_seconds": 3600,
    }
