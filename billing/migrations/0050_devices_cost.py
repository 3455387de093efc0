"""What a device-hour costs the platform, by class and from a day. Nothing that is billed reads it."""

from typing import ClassVar

from django.db import migrations, models

import tenants.clock
import tenants.ids
from tenants.isolation.rls import GrantTable

GUARDS = """
CREATE FUNCTION billing_enter_device_cost() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    today date := (exchequer_now() AT TIME ZONE 'UTC')::date;
BEGIN
    NEW.entered_at := exchequer_now();
    PERFORM pg_advisory_xact_lock(hashtextextended('billing.device_costs', 0));
    IF NEW.starts_on <= today AND EXISTS (SELECT FROM billing_devicecost WHERE device_class = NEW.device_class) THEN
        RAISE EXCEPTION 'a class that has a cost gets its next one after today'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'device_cost_starts_ahead';
    END IF;
    IF EXISTS (SELECT FROM billing_devicecost WHERE currency <> NEW.currency) THEN
        RAISE EXCEPTION 'all costs are in one currency'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'device_cost_in_one_currency';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER enter BEFORE INSERT ON billing_devicecost FOR EACH ROW EXECUTE FUNCTION billing_enter_device_cost();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON billing_devicecost FOR EACH ROW EXECUTE FUNCTION billing_refuse_change();
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [("billing", "0049_usage_by_day")]

    operations: ClassVar = [
        migrations.CreateModel(
            name="DeviceCost",
            fields=[
                ("id", models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ("device_class", models.CharField(max_length=80)),
                ("per_hour", models.DecimalField(decimal_places=12, max_digits=38)),
                ("currency", models.CharField(max_length=3)),
                ("starts_on", models.DateField()),
                ("entered_by", models.CharField(max_length=254)),
                ("entered_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
            ],
        ),
        migrations.AddConstraint(
            model_name="devicecost",
            constraint=models.UniqueConstraint(fields=("device_class", "starts_on"), name="device_cost_start_once"),
        ),
        migrations.AddConstraint(
            model_name="devicecost",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("per_hour__gte", 0),
                    ("per_hour__lt", 1000000000000),
                    ("currency__regex", "^[A-Z]{3}$"),
                    models.Q(("device_class", ""), _negated=True),
                ),
                name="device_cost_is_real",
            ),
        ),
        GrantTable("DeviceCost", operator="SELECT, INSERT"),
        migrations.RunSQL(GUARDS, "DROP FUNCTION billing_enter_device_cost() CASCADE"),
    ]
