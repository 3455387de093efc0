"""Shares of one device belong to one tenant: the last wall, behind the policy and the statement that takes a share."""

from django.db import migrations

# A hold is written under the lock of its device, so whoever inserts a member sees all others that share its device.
RULES = """
CREATE OR REPLACE FUNCTION compute_attempt_takes_its_device() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM compute_devicehold
                   WHERE device_id = NEW.device_id AND holder = NEW.attempt_id AND share = NEW.share) THEN
        RAISE EXCEPTION 'attempt % has not taken device %', NEW.attempt_id, NEW.device_id USING ERRCODE = 'check_violation';
    END IF;
    IF EXISTS (SELECT FROM compute_devicehold h LEFT JOIN compute_attempt a ON a.id = h.holder
               WHERE h.device_id = NEW.device_id AND h.holder <> NEW.attempt_id AND a.tenant_id IS DISTINCT FROM NEW.tenant_id) THEN
        RAISE EXCEPTION 'device % has shares of another tenant', NEW.device_id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
"""
NO_RULES = """
CREATE OR REPLACE FUNCTION compute_attempt_takes_its_device() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM compute_devicehold
                   WHERE device_id = NEW.device_id AND holder = NEW.attempt_id AND share = NEW.share) THEN
        RAISE EXCEPTION 'attempt % has not taken device %', NEW.attempt_id, NEW.device_id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("compute", "0037_past_jobs_know_their_sets")]

    operations = [migrations.RunSQL(RULES, NO_RULES)]
