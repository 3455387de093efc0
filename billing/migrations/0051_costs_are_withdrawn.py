"""A cost entered by mistake is withdrawn by a row of its own, and the rule of the cluster's bill is chosen from a month on."""

from typing import ClassVar

import django.db.models.deletion
from django.db import migrations, models

import tenants.clock
import tenants.ids
from tenants.isolation.rls import GrantTable

# What is withdrawn counts nowhere, and its place may be taken: by a cost that begins on the same day.
GUARDS = """
CREATE OR REPLACE FUNCTION billing_enter_device_cost() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    today date := (exchequer_now() AT TIME ZONE 'UTC')::date;
BEGIN
    NEW.entered_at := exchequer_now();
    PERFORM pg_advisory_xact_lock(hashtextextended('billing.device_costs', 0));
    IF EXISTS (SELECT FROM billing_devicecost c LEFT JOIN billing_devicecostwithdrawal w ON w.cost_id = c.id
               WHERE c.device_class = NEW.device_class AND c.starts_on = NEW.starts_on AND w.cost_id IS NULL) THEN
        RAISE EXCEPTION 'another cost of this class begins then'
            USING ERRCODE = 'unique_violation', CONSTRAINT = 'device_cost_start_once';
    END IF;
    IF NEW.starts_on <= today
       AND EXISTS (SELECT FROM billing_devicecost c LEFT JOIN billing_devicecostwithdrawal w ON w.cost_id = c.id
                   WHERE c.device_class = NEW.device_class AND w.cost_id IS NULL)
       AND NOT EXISTS (SELECT FROM billing_devicecost WHERE device_class = NEW.device_class AND starts_on = NEW.starts_on) THEN
        RAISE EXCEPTION 'a class that has a cost gets its next one after today'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'device_cost_starts_ahead';
    END IF;
    IF EXISTS (SELECT FROM billing_devicecost c LEFT JOIN billing_devicecostwithdrawal w ON w.cost_id = c.id
               WHERE c.currency <> NEW.currency AND w.cost_id IS NULL) THEN
        RAISE EXCEPTION 'all costs are in one currency'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'device_cost_in_one_currency';
    END IF;
    RETURN NEW;
END $$;
CREATE FUNCTION billing_withdraw_device_cost() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    NEW.withdrawn_at := exchequer_now();
    PERFORM pg_advisory_xact_lock(hashtextextended('billing.device_costs', 0));
    RETURN NEW;
END $$;
CREATE TRIGGER enter BEFORE INSERT ON billing_devicecostwithdrawal FOR EACH ROW EXECUTE FUNCTION billing_withdraw_device_cost();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_devicecostwithdrawal FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
CREATE FUNCTION billing_choose_cluster_rule() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    NEW.chosen_at := exchequer_now();
    RETURN NEW;
END $$;
CREATE TRIGGER enter BEFORE INSERT ON billing_clusterrule FOR EACH ROW EXECUTE FUNCTION billing_choose_cluster_rule();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_clusterrule FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [("billing", "0050_devices_cost")]

    operations: ClassVar = [
        migrations.CreateModel(
            name="DeviceCostWithdrawal",
            fields=[
                (
                    "cost",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="withdrawal",
                        serialize=False,
                        to="billing.devicecost",
                    ),
                ),
                ("withdrawn_by", models.CharField(max_length=254)),
                ("withdrawn_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
            ],
        ),
        GrantTable("DeviceCostWithdrawal", operator="SELECT, INSERT"),
        migrations.CreateModel(
            name="ClusterRule",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("starts_on", models.DateField()),
                ("rule", models.CharField(max_length=20)),
                ("chosen_by", models.CharField(max_length=254)),
                ("chosen_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("rule__in", ("proportional", "even", "guaranteed", "platform")), ("starts_on__day", 1)
                        ),
                        name="billing_cluster_rule_of_month",
                    )
                ],
            },
        ),
        GrantTable("ClusterRule", operator="SELECT, INSERT"),
        migrations.RemoveConstraint(model_name="devicecost", name="device_cost_start_once"),
        migrations.AddIndex(
            model_name="devicecost",
            index=models.Index(fields=["device_class", "starts_on"], name="billing_device_cost_start"),
        ),
        migrations.RunSQL(
            GUARDS,
            "DROP FUNCTION billing_withdraw_device_cost() CASCADE; DROP FUNCTION billing_choose_cluster_rule() CASCADE",
        ),
    ]
