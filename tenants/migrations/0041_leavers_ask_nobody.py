from django.db import migrations

# The ops worker closes what a leaver asked of the operators, in the name of nobody; it approves nothing.
CLOSES = """
CREATE OR REPLACE FUNCTION tenants_approval_stays_answered() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state <> 'open' THEN
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
        ("tenants", "0040_log_ins_are_refused"),
    ]

    operations = [migrations.RunSQL(CLOSES, migrations.RunSQL.noop)]
