from django.db import migrations

#: Of each table what a key owns by its id. A key that was replaced before `succeeds` was known owned things in its own name;
#: they go to the first key of its line, in whose name its successors act. Ended jobs and usage keep who did it.
OWNED = """
DO $$
DECLARE
  owned record;
BEGIN
  IF to_regclass('compute_job') IS NULL OR to_regclass('models_app_dataset') IS NULL THEN
    RETURN;  -- a new installation
  END IF;
  FOR owned IN SELECT * FROM (VALUES
      ('compute_job', 'submitted_by', 'o.state NOT IN (''succeeded'', ''failed'', ''cancelled'')'),
      ('models_app_dataset', 'created_by', 'true')) AS of_table(name, holder, which) LOOP
    EXECUTE format('ALTER TABLE %I NO FORCE ROW LEVEL SECURITY', owned.name);
    EXECUTE format('UPDATE %I o SET %I = k.succeeds FROM tenants_apikey k
      WHERE k.id = o.%I AND k.tenant_id = o.tenant_id AND k.succeeds IS NOT NULL AND %s', owned.name, owned.holder, owned.holder, owned.which);
  END LOOP;
  -- A table whose references are still to be checked cannot be altered.
  SET CONSTRAINTS ALL IMMEDIATE;
  SET CONSTRAINTS ALL DEFERRED;
  ALTER TABLE compute_job FORCE ROW LEVEL SECURITY;
  ALTER TABLE models_app_dataset FORCE ROW LEVEL SECURITY;
END $$;
"""
OPEN = "ALTER TABLE tenants_apikey NO FORCE ROW LEVEL SECURITY;"
SHUT = "ALTER TABLE tenants_apikey FORCE ROW LEVEL SECURITY;"


class Migration(migrations.Migration):
    dependencies = [("tenants", "0046_notifications_by_webhook")]

    operations = [migrations.RunSQL(OPEN + OWNED + SHUT, migrations.RunSQL.noop)]
