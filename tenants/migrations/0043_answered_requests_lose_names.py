from django.db import migrations

# An answer stands for ever. What describes it may lose a name, as a person or an organisation is erased; new columns stand.
ERASED = """
CREATE OR REPLACE FUNCTION tenants_approval_stays_answered() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    described text[] := '{requester_label,target,wanted,reason,answered_by_label,answer_reason}';
BEGIN
    IF OLD.state <> 'open' AND (NOT pg_has_role(current_user, 'exchequer_control', 'USAGE')
                                OR to_jsonb(NEW) - described IS DISTINCT FROM to_jsonb(OLD) - described) THEN
        RAISE EXCEPTION 'approval % is %', OLD.id, OLD.state USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.side = 'operators' AND NEW.state <> OLD.state AND NOT pg_has_role(current_user, 'exchequer_operator', 'USAGE')
       AND NOT (pg_has_role(current_user, 'exchequer_control', 'USAGE') AND NEW.state = 'declined' AND NEW.answered_by IS NULL)
       OR NEW.side <> OLD.side THEN
        RAISE EXCEPTION 'approval % is answered by operators', OLD.id USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0042_operators_ask_operators"),
    ]

    operations = [migrations.RunSQL(ERASED, migrations.RunSQL.noop)]
