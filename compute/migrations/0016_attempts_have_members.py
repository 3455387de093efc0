"""An attempt has members, one a rank, each on a device or a share of one; what holds devices has a table of its own."""

import django.db.models.deletion
from django.db import migrations, models

import tenants.ids
import tenants.isolation.scoping
from tenants.isolation.rls import GrantTable, SecureTable, glass_sql

HELD = """
CREATE FUNCTION compute_device_is_held() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        UPDATE compute_device SET held = held - OLD.share WHERE id = OLD.device_id;
        RETURN OLD;
    END IF;
    UPDATE compute_device SET held = held + NEW.share WHERE id = NEW.device_id;
    RETURN NEW;
END $$;
CREATE TRIGGER is_held AFTER INSERT OR DELETE ON compute_devicehold
    FOR EACH ROW EXECUTE FUNCTION compute_device_is_held();
INSERT INTO compute_devicehold (id, device_id, holder, share)
SELECT gen_random_uuid(), id, taken_by, 1000 FROM compute_device WHERE taken_by IS NOT NULL;
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
"""
NO_HELD = """
UPDATE compute_device SET taken_by = h.holder FROM compute_devicehold h WHERE h.device_id = compute_device.id;
DROP FUNCTION compute_device_is_held() CASCADE;
"""

MEMBERS = """
INSERT INTO compute_attemptmember (id, tenant_id, attempt_id, rank, node_id, device_id, share)
SELECT gen_random_uuid(), tenant_id, id, 0, node_id, device_id, 1000 FROM compute_attempt;
SET CONSTRAINTS ALL IMMEDIATE;
SET CONSTRAINTS ALL DEFERRED;
"""

RULES = """
DROP TRIGGER takes_its_device ON compute_attempt;
CREATE OR REPLACE FUNCTION compute_attempt_takes_its_device() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM compute_devicehold
                   WHERE device_id = NEW.device_id AND holder = NEW.attempt_id AND share = NEW.share) THEN
        RAISE EXCEPTION 'attempt % has not taken device %', NEW.attempt_id, NEW.device_id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER takes_its_device BEFORE INSERT ON compute_attemptmember
    FOR EACH ROW EXECUTE FUNCTION compute_attempt_takes_its_device();
"""
NO_RULES = """
DROP TRIGGER takes_its_device ON compute_attemptmember;
CREATE OR REPLACE FUNCTION compute_attempt_takes_its_device() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM compute_device WHERE id = NEW.device_id AND taken_by = NEW.id) THEN
        RAISE EXCEPTION 'attempt % has not taken device %', NEW.id, NEW.device_id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER takes_its_device BEFORE INSERT ON compute_attempt
    FOR EACH ROW EXECUTE FUNCTION compute_attempt_takes_its_device();
"""


def slots_rules(holds: str) -> str:
    """Return the rules of slots, in which `holds` is the condition that the new row has its device."""
    return f"""
CREATE OR REPLACE FUNCTION compute_allocation_keeps_its_rules() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    described text[] := '{{reason,requested_by_label,dims}}';
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF OLD.state = 'ended' AND (NOT pg_has_role(current_user, 'exchequer_control', 'USAGE')
                                    OR to_jsonb(NEW) - described IS DISTINCT FROM to_jsonb(OLD) - described) THEN
            RAISE EXCEPTION 'allocation % has ended', OLD.id USING ERRCODE = 'check_violation';
        END IF;
        IF NEW.token < OLD.token THEN
            RAISE EXCEPTION 'the token of allocation % only grows', OLD.id USING ERRCODE = 'check_violation';
        END IF;
    END IF;
    IF NEW.state = 'live' AND NOT EXISTS (SELECT FROM compute_device WHERE id = NEW.device_id AND serves AND {holds}) THEN
        RAISE EXCEPTION 'allocation % has not taken slot %', NEW.id, NEW.device_id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
"""


INSIDE = "GRANT SELECT (share, one_node, priority) ON compute_job TO exchequer_glass;" + glass_sql(
    "compute_attemptmember"
)
HOLDS = "EXISTS (SELECT FROM compute_devicehold h WHERE h.device_id = NEW.device_id AND h.holder = NEW.id)"


class Migration(migrations.Migration):
    dependencies = [("compute", "0015_attempts_give_way")]

    operations = [
        migrations.CreateModel(
            name="AttemptMember",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("rank", models.PositiveSmallIntegerField()),
                ("share", models.PositiveSmallIntegerField(default=1000)),
            ],
            options={
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="DeviceHold",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("holder", models.UUIDField()),
                ("share", models.PositiveSmallIntegerField(default=1000)),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="attempt",
            name="compute_attempt_one_live_per_device",
        ),
        migrations.RemoveConstraint(
            model_name="devicehour",
            name="compute_hour_once",
        ),
        migrations.RemoveConstraint(
            model_name="job",
            name="compute_job_one_device",
        ),
        migrations.AddField(
            model_name="device",
            name="held",
            field=models.PositiveSmallIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="devicehour",
            name="rank",
            field=models.PositiveSmallIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="job",
            name="one_node",
            field=models.BooleanField(db_default=True, default=True),
        ),
        migrations.AddField(
            model_name="job",
            name="priority",
            field=models.SmallIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="job",
            name="share",
            field=models.PositiveSmallIntegerField(db_default=1000, default=1000),
        ),
        migrations.AddConstraint(
            model_name="device",
            constraint=models.CheckConstraint(
                condition=models.Q(("held__range", (0, 1000))), name="compute_device_held_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="devicehour",
            constraint=models.UniqueConstraint(fields=("tenant", "attempt", "rank", "hour"), name="compute_hour_once"),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("devices__range", (1, 64)), ("share", 1000)),
                    models.Q(("devices", 1), ("share__range", (1, 1000))),
                    _connector="OR",
                ),
                name="compute_job_devices",
            ),
        ),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.CheckConstraint(
                condition=models.Q(("priority__range", (-100, 100))), name="compute_job_priority"
            ),
        ),
        migrations.AddField(
            model_name="attemptmember",
            name="attempt",
            field=tenants.isolation.scoping.TenantForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="members",
                to="compute.attempt",
            ),
        ),
        migrations.AddField(
            model_name="attemptmember",
            name="device",
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="compute.device"),
        ),
        migrations.AddField(
            model_name="attemptmember",
            name="node",
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="compute.node"),
        ),
        migrations.AddField(
            model_name="attemptmember",
            name="tenant",
            field=models.ForeignKey(
                editable=False, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
            ),
        ),
        migrations.AddField(
            model_name="devicehold",
            name="device",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="holds", to="compute.device"
            ),
        ),
        migrations.AddConstraint(
            model_name="attemptmember",
            constraint=models.UniqueConstraint(fields=("tenant", "attempt", "rank"), name="compute_member_rank_once"),
        ),
        migrations.AddConstraint(
            model_name="attemptmember",
            constraint=models.UniqueConstraint(
                fields=("tenant", "attempt", "device"), name="compute_member_device_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="attemptmember",
            constraint=models.CheckConstraint(
                condition=models.Q(("share__range", (1, 1000))), name="compute_member_share"
            ),
        ),
        migrations.AddConstraint(
            model_name="devicehold",
            constraint=models.UniqueConstraint(fields=("holder", "device"), name="compute_hold_once"),
        ),
        migrations.AddConstraint(
            model_name="devicehold",
            constraint=models.CheckConstraint(
                condition=models.Q(("share__range", (1, 1000))), name="compute_hold_share"
            ),
        ),
        migrations.RunSQL(HELD, NO_HELD),
        migrations.RunSQL(MEMBERS, migrations.RunSQL.noop),
        SecureTable("AttemptMember", control=True, app="SELECT", control_grants="SELECT, INSERT"),
        GrantTable("DeviceHold", app="SELECT, DELETE", control="SELECT, INSERT, DELETE"),
        migrations.RunSQL(RULES, NO_RULES),
        migrations.RunSQL(slots_rules(HOLDS), slots_rules("taken_by = NEW.id")),
        migrations.RemoveField(model_name="device", name="taken_by"),
        migrations.RunSQL(INSIDE, migrations.RunSQL.noop),
    ]
