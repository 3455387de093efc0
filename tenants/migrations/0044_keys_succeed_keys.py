from django.db import migrations, models

OPEN = "ALTER TABLE tenants_apikey NO FORCE ROW LEVEL SECURITY;"
# A table whose references are still to be checked cannot be altered.
CHECKED = "SET CONSTRAINTS ALL IMMEDIATE;SET CONSTRAINTS ALL DEFERRED;"
SHUT = "ALTER TABLE tenants_apikey FORCE ROW LEVEL SECURITY;"
# Keys that were rotated before: each successor knows the first of its line.
LINES = """
WITH RECURSIVE line AS (
  SELECT k.id AS first, k.replaced_by AS next FROM tenants_apikey k
   WHERE k.replaced_by IS NOT NULL AND NOT EXISTS (SELECT FROM tenants_apikey b WHERE b.replaced_by = k.id)
  UNION ALL
  SELECT l.first, k.replaced_by FROM line l JOIN tenants_apikey k ON k.id = l.next WHERE k.replaced_by IS NOT NULL)
UPDATE tenants_apikey k SET succeeds = l.first FROM line l WHERE k.id = l.next;
"""
# As before, with the key in whose name this one owns things.
ENTRANCE = """
DROP FUNCTION exchequer_enter_key(text, bytea);
CREATE FUNCTION exchequer_enter_key(start text, digest bytea)
RETURNS TABLE (tenant jsonb, key_id uuid, key_name text, scopes text[], bounded boolean, grants jsonb, project uuid, owner uuid)
LANGUAGE plpgsql VOLATILE AS
$$ DECLARE candidate record;
BEGIN
  FOR candidate IN SELECT * FROM exchequer_api_keys(start) LOOP
    PERFORM set_config('app.tenant', candidate.tenant_id::text, true);
    RETURN QUERY SELECT to_jsonb(t), k.id, k.name::text, k.scopes::text[],
        k.membership_id IS NOT NULL OR k.service_account_id IS NOT NULL,
        exchequer_grants(m.id, a.id), k.project_id, coalesce(k.succeeds, k.id)
      FROM tenants_apikey k JOIN tenants_tenant t ON t.id = k.tenant_id
      LEFT JOIN tenants_membership m ON m.id = k.membership_id
        AND EXISTS (SELECT FROM tenants_user u WHERE u.id = m.user_id AND u.is_active)
      LEFT JOIN tenants_serviceaccount a ON a.id = k.service_account_id AND a.disabled_at IS NULL
      WHERE k.id = candidate.id AND k.key_hash = digest AND k.revoked_at IS NULL
        AND (k.expires_at IS NULL OR k.expires_at > exchequer_now())
        AND (k.membership_id IS NULL OR m.id IS NOT NULL)
        AND (k.service_account_id IS NULL OR a.id IS NOT NULL);
    IF FOUND THEN RETURN; END IF;
  END LOOP;
  PERFORM set_config('app.tenant', '', true);
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("tenants", "0043_answered_requests_lose_names")]

    operations = [
        migrations.AddField("apikey", "succeeds", models.UUIDField(null=True)),
        migrations.RunSQL(OPEN + LINES + CHECKED + SHUT, migrations.RunSQL.noop),
        migrations.AddIndex(
            "apikey",
            models.Index(fields=["succeeds"], condition=models.Q(succeeds__isnull=False), name="apikey_succeeds"),
        ),
        migrations.RunSQL(ENTRANCE, migrations.RunSQL.noop),
    ]
