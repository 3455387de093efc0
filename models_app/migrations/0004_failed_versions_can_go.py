"""A version that failed, and a dataset without versions, may be removed; the database itself keeps all others."""

from django.db import migrations

FORWARDS = """
GRANT DELETE ON models_app_dataset, models_app_datasetversion TO exchequer_app;
CREATE FUNCTION models_app_keep_versions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state <> 'failed' THEN
        RAISE EXCEPTION 'only a failed dataset version can be removed' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN OLD;
END
$$;
CREATE TRIGGER keep_versions BEFORE DELETE ON models_app_datasetversion
    FOR EACH ROW EXECUTE FUNCTION models_app_keep_versions();
"""
BACKWARDS = """
DROP TRIGGER keep_versions ON models_app_datasetversion;
DROP FUNCTION models_app_keep_versions();
REVOKE DELETE ON models_app_dataset, models_app_datasetversion FROM exchequer_app;
"""


class Migration(migrations.Migration):
    dependencies = [("models_app", "0003_serving")]

    operations = [migrations.RunSQL(FORWARDS, BACKWARDS)]
