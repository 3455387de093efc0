from django.db import migrations

# What has ended stays ended, with its times and seconds. What describes it may lose a name, as a person or an organisation
# is erased.
ERASED = """
CREATE OR REPLACE FUNCTION compute_attempt_stays_ended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state = 'ended' AND (NOT pg_has_role(current_user, 'exchequer_control', 'USAGE')
                                OR to_jsonb(NEW) - 'message' IS DISTINCT FROM to_jsonb(OLD) - 'message') THEN
        RAISE EXCEPTION 'attempt % has ended', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE FUNCTION compute_allocation_keeps_its_rules() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    described text[] := '{reason,requested_by_label,dims}';
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
    IF NEW.state = 'live' AND NOT EXISTS (SELECT FROM compute_device WHERE id = NEW.device_id AND serves AND taken_by = NEW.id) THEN
        RAISE EXCEPTION 'allocation % has not taken slot %', NEW.id, NEW.device_id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("compute", "0010_kept_launches_wait"),
    ]

    operations = [migrations.RunSQL(ERASED, migrations.RunSQL.noop)]
