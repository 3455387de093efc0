"""The page that explains a line of an invoice."""

from datetime import timedelta
from uuid import uuid4

import pytest

from billing import queries
from billing.metering import record_usage
from compute.models import Job
from tenants.clock import now
from tenants.scoping import tenant_scope
from tests import factories
from tests.api.objects import one_of_everything
from tests.api.test_matrix import client_for
from tests.billing_usage import interval

pytestmark = pytest.mark.django_db


def test_jobs_are_called_by_their_names_and_one_that_nobody_knows_by_its_id() -> None:
    tenant = factories.make_tenant()
    ids, unknown = one_of_everything(tenant), uuid4()
    project_id = factories.default_project_id(tenant)
    with tenant_scope(tenant.id):
        Job.objects.filter(id=ids["job_id"]).update(name="spring <tulips>")
        for job_id in (ids["job_id"], unknown):
            used = interval(project_id, now() - timedelta(seconds=60), 20, resource=f"job:{job_id}", job_id=job_id)
            record_usage([used])
        invoice = queries.draft_invoice()
    answer = client_for(tenant, "owner").get(f"/t/{tenant.slug}/invoices/{invoice.id}/lines/1/")
    page = answer.content.decode()
    assert page.count(">spring &lt;tulips&gt;</a>") == 2, "once as a share, once as an interval"
    assert f"job:{ids['job_id']}" not in page
    assert f">job:{unknown}</a>" in page
