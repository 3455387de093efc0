"""The time at which usage is recorded is asked once for each statement, where every row asked for it."""

from django.db import migrations

# A statement gives all its rows one time. It lies in its own transaction by the database's clock, so it is as hard to
# forge as the default that rows without a time still get. The demo moves its clock while work goes on: only the end counts there.
RECORDED = """
CREATE FUNCTION billing_recorded_now() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    earliest timestamptz;
    latest timestamptz;
BEGIN
    SELECT min(recorded_at), max(recorded_at) INTO earliest, latest FROM stored;
    IF latest > exchequer_now() OR earliest < transaction_timestamp() AND NOT EXISTS (SELECT FROM demo_clock) THEN
        RAISE EXCEPTION 'usage is recorded when it is stored'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'usage_is_recorded_now';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER recorded_now AFTER INSERT ON billing_usageevent REFERENCING NEW TABLE AS stored
    FOR EACH STATEMENT EXECUTE FUNCTION billing_recorded_now();
GRANT INSERT (recorded_at) ON billing_usageevent TO exchequer_app, exchequer_control;
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0035_payments_are_reversed")]

    operations = [migrations.RunSQL(RECORDED, migrations.RunSQL.noop)]
