"""What the database refuses of reported usage; a void takes the whole of an event back."""

from django.db import migrations

from tenants.isolation.rls import SecureTable

EVENTS = """
ALTER TABLE billing_usageevent
    DROP CONSTRAINT billing_usageevent_kind_check,
    ADD CONSTRAINT usage_kind_known CHECK (kind IN ('usage', 'waiver', 'void')),
    ADD CONSTRAINT void_only_takes_away CHECK (
        kind <> 'void' OR (measured < 0 AND billable <= 0 AND billable >= measured AND amount <= 0 AND batch_id IS NOT NULL)
    );
-- Only usage from outside has a batch: the platform's own pays nothing for this index.
CREATE INDEX usage_event_batch ON billing_usageevent (tenant_id, batch_id) WHERE batch_id IS NOT NULL;
GRANT INSERT (batch_id) ON billing_usageevent TO exchequer_app, exchequer_control;
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0006_usage_from_outside")]

    operations = [
        SecureTable("UsageBatch", app="SELECT, INSERT, UPDATE", control_grants="SELECT, INSERT, UPDATE"),
        SecureTable("HeldEvent", app="SELECT, INSERT, UPDATE", control_grants="SELECT, INSERT, UPDATE"),
        SecureTable("SenderDay", app="SELECT, INSERT, UPDATE", control_grants="SELECT, INSERT, UPDATE"),
        SecureTable("ReportLimit", app="SELECT, INSERT, UPDATE", control_grants="SELECT, INSERT, UPDATE"),
        migrations.RunSQL(EVENTS, migrations.RunSQL.noop),
    ]
