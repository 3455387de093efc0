import django.db.models.deletion
from django.db import migrations, models

import tenants.clock
import tenants.ids
import tenants.isolation.scoping
from tenants.isolation import rls

# What was answered is a record of who decided: it stays as it is, whatever the role.
ANSWERED = """
CREATE FUNCTION tenants_approval_stays_answered() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state <> 'open' THEN
        RAISE EXCEPTION 'approval % is %', OLD.id, OLD.state USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER stays_answered BEFORE UPDATE ON tenants_approval
    FOR EACH ROW EXECUTE FUNCTION tenants_approval_stays_answered();
"""
NO_ANSWERED = "DROP FUNCTION tenants_approval_stays_answered() CASCADE"


class Migration(migrations.Migration):
    dependencies = [("tenants", "0013_operators_have_a_side")]

    operations = [
        migrations.CreateModel(
            name="Approval",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("kind", models.CharField(max_length=40)),
                ("side", models.CharField(default="tenant", max_length=9)),
                ("requester", models.UUIDField(null=True)),
                ("requester_label", models.CharField(max_length=254)),
                ("target", models.CharField(max_length=120)),
                ("wanted", models.JSONField()),
                ("reason", models.CharField(max_length=500)),
                (
                    "state",
                    models.CharField(
                        choices=[("open", "Open"), ("approved", "Approved"), ("declined", "Declined")],
                        default="open",
                        max_length=8,
                    ),
                ),
                ("created_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("expires_at", models.DateTimeField()),
                ("answered_by", models.UUIDField(null=True)),
                ("answered_by_label", models.CharField(blank=True, max_length=254)),
                ("answered_at", models.DateTimeField(null=True)),
                ("answer_reason", models.CharField(blank=True, max_length=500)),
                (
                    "project",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.project",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
                "indexes": [models.Index(fields=["tenant", "-id"], name="approval_newest")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("answered_at__isnull", True), ("state", "open")),
                            models.Q(("answered_at__isnull", False), ("state__in", ["approved", "declined"])),
                            _connector="OR",
                        ),
                        name="approval_answered_with_state",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("side__in", ["tenant", "operators"])), name="approval_side_known"
                    ),
                ],
            },
        ),
        rls.SecureTable("Approval", app="SELECT, INSERT, UPDATE", control_grants="SELECT, INSERT, UPDATE"),
        migrations.RunSQL(ANSWERED, NO_ANSWERED),
    ]
