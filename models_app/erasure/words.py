"""The texts that an organisation gave its objects, erased with it: rows that the ledger refers to stay, without their names.

So do the labels of people: a former member has no membership any more by which an address would be found. Tags
of usage stay with the usage, and the audit log keeps the labels that it hashed.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Model as Table
from django.db.models import TextField, Value
from django.db.models.functions import Cast, Concat, Right

from billing.models import Quote
from compute.models import Allocation, Attempt, Job, SlotState
from models_app.models import (
    Dataset,
    DatasetVersion,
    Endpoint,
    EndpointKey,
    HealthAlert,
    Model,
    Pipeline,
    PipelineRun,
    Preset,
    Schedule,
    ScheduleRun,
    StepTry,
)
from tenants.audit import erasure
from tenants.models import (
    ApiKey,
    Approval,
    Group,
    IdempotencyKey,
    Notification,
    Project,
    Role,
    ScimToken,
    ServiceAccount,
    TenantExport,
    Webhook,
    WebhookDelivery,
)

#: Names are unique in a tenant: the end of the row's id keeps them so.
NAME = Concat(Value("erased-"), Right(Cast("id", TextField()), 12))
#: What a data set shows without its file.
SHOWN: dict[str, Any] = {"columns": [], "warnings": [], "profile": {}, "choices": {}, "writing": {}, "reading": {}}
OVERWRITTEN: dict[type[Table], dict[str, Any]] = {
    Project: {"name": NAME, "slug": NAME},
    Job: {"name": "erased", "spec": {}, "tags": {}, "message": "", "result": {}, "progress": {}},
    Attempt: {"message": ""},
    Dataset: {"name": NAME},
    DatasetVersion: {"filename": "erased", "target": "", "message": "", **SHOWN},
    Model: {"name": NAME},
    Endpoint: {"name": NAME, "message": ""},
    EndpointKey: {"name": NAME},
    Pipeline: {"name": NAME, "definition": {"steps": []}},
    PipelineRun: {"definition": {"steps": []}, "reason": "", "trigger": ""},
    StepTry: {"step": NAME, "outputs": {}, "message": ""},
    Preset: {"name": NAME, "body": {}},
    Schedule: {"name": NAME, "paused": True, "next_at": None, "paused_reason": ""},
    ScheduleRun: {"reason": ""},
    ApiKey: {"name": NAME},
    ServiceAccount: {"name": NAME, "description": ""},
    Group: {"name": NAME},
    Role: {"name": NAME, "description": ""},
    ScimToken: {"name": NAME},
    Webhook: {"name": NAME, "host": ""},
    Approval: {"target": "erased", "wanted": {}, "reason": "", "answer_reason": ""},
}
REMOVED: tuple[type[Table], ...] = (HealthAlert, IdempotencyKey, Notification, WebhookDelivery, Quote)
#: States of exports that end with what they hold.
UNDONE = ("queued", "running", "ready")


def erase() -> None:
    """Overwrite or remove these texts in the open tenant; a second time changes nothing more."""
    for table in REMOVED:
        table._default_manager.all().delete()
    for table, said in OVERWRITTEN.items():
        table._default_manager.update(**said)
    # What a slot that is not released names still gives its price.
    Allocation.objects.filter(state=SlotState.ENDED).update(reason="", dims={})
    # No archive is built or offered any more: those that were stored went with the other files.
    TenantExport.objects.filter(state__in=UNDONE).update(state="expired")
    TenantExport.objects.update(reason="", name="")
    erasure.erase_labels()
