"""Slots for long allocations: devices that serve, and who holds or awaits one."""

import django.db.models.deletion
from django.db import migrations, models

import tenants.clock
import tenants.ids
import tenants.isolation.scoping
from tenants.isolation.rls import SecureTable

# A serving node asks which slots lie on it before it knows a tenant; it gets ids only.
SLOTS = """
CREATE POLICY lookup_rows ON compute_allocation FOR SELECT TO exchequer_owner USING (true);
CREATE FUNCTION compute_slots_of(place uuid) RETURNS TABLE (tenant_id uuid, id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT a.tenant_id, a.id FROM compute_allocation a WHERE a.node_id = place AND a.state = 'live' $$;
REVOKE ALL ON FUNCTION compute_slots_of(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION compute_slots_of(uuid) TO exchequer_app, exchequer_control;
"""
NO_SLOTS = "DROP FUNCTION compute_slots_of(uuid)"

RULES = """
CREATE FUNCTION compute_allocation_keeps_its_rules() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF OLD.state = 'ended' THEN
            RAISE EXCEPTION 'allocation % has ended', OLD.id USING ERRCODE = 'check_violation';
        END IF;
        IF NEW.token < OLD.token THEN
            RAISE EXCEPTION 'the token of allocation % only grows', OLD.id USING ERRCODE = 'check_violation';
        END IF;
    END IF;
    IF NEW.state = 'live' AND NOT EXISTS (SELECT FROM compute_device WHERE id = NEW.device_id AND serves AND taken_by = NEW.id) THEN
        RAISE EXCEPTION 'allocation % has not taken slot %', NEW.id, NEW.device_id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER keeps_its_rules BEFORE INSERT OR UPDATE ON compute_allocation
    FOR EACH ROW EXECUTE FUNCTION compute_allocation_keeps_its_rules();
"""
NO_RULES = "DROP FUNCTION compute_allocation_keeps_its_rules() CASCADE"


class Migration(migrations.Migration):
    dependencies = [("compute", "0002_disk_full"), ("tenants", "0002_library_grants")]

    operations = [
        migrations.AddField(
            model_name="device", name="serves", field=models.BooleanField(db_default=False, default=False)
        ),
        migrations.CreateModel(
            name="Allocation",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("subject", models.CharField(max_length=120)),
                ("device_class", models.CharField(default="serving", max_length=80)),
                (
                    "state",
                    models.CharField(
                        choices=[("waiting", "Waiting"), ("live", "Live"), ("ended", "Ended")],
                        default="waiting",
                        max_length=7,
                    ),
                ),
                ("token", models.PositiveIntegerField(default=0)),
                ("device_name", models.CharField(blank=True, max_length=160)),
                ("boot", models.UUIDField(null=True)),
                ("requested_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("assigned_at", models.DateTimeField(null=True)),
                ("lease_until", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                ("reason", models.CharField(blank=True, max_length=400)),
                (
                    "device",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="compute.device",
                    ),
                ),
                (
                    "node",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="compute.node",
                    ),
                ),
                (
                    "project",
                    tenants.isolation.scoping.TenantForeignKey(
                        db_constraint=False,
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
            options={"base_manager_name": "objects"},
        ),
        migrations.AddConstraint(
            model_name="allocation",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "ended"), _negated=True),
                fields=("tenant", "subject"),
                name="compute_allocation_one_per_subject",
            ),
        ),
        migrations.AddConstraint(
            model_name="allocation",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "live")),
                fields=("tenant", "device"),
                name="compute_allocation_one_per_device",
            ),
        ),
        migrations.AddConstraint(
            model_name="allocation",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    state="live", device__isnull=False, node__isnull=False, lease_until__isnull=False, ended_at=None
                )
                | models.Q(state="waiting", device=None, node=None, lease_until=None, ended_at=None)
                | models.Q(state="ended", ended_at__isnull=False),
                name="compute_allocation_fields_with_state",
            ),
        ),
        migrations.AddIndex(
            model_name="allocation",
            index=models.Index(
                condition=models.Q(("state", "live")), fields=["node"], name="compute_allocation_of_node"
            ),
        ),
        migrations.AddIndex(
            model_name="allocation",
            index=models.Index(
                condition=models.Q(("state", "waiting")), fields=["requested_at"], name="compute_allocation_waiting"
            ),
        ),
        SecureTable("Allocation", control=True, app="SELECT, INSERT, UPDATE", control_grants="SELECT, INSERT, UPDATE"),
        migrations.RunSQL(SLOTS, NO_SLOTS),
        migrations.RunSQL(RULES, NO_RULES),
    ]
