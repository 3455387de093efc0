import django.db.models.deletion
from django.db import migrations, models

import tenants.isolation.scoping
from tenants.isolation import rls

TABLES = ("models_app_endpointkey", "tenants_apikey", "tenants_membership")
OPEN = "".join(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY;" for table in TABLES)
# A table whose references are still to be checked cannot be altered.
CHECKED = "SET CONSTRAINTS ALL IMMEDIATE;SET CONSTRAINTS ALL DEFERRED;"
SHUT = "".join(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY;" for table in TABLES)

# `created_by` is a person or an API key. Keys of people who left, and of keys that were revoked, end here.
DESCENT = """
UPDATE models_app_endpointkey e SET membership_id = m.id FROM tenants_membership m
 WHERE m.tenant_id = e.tenant_id AND m.user_id = e.created_by AND m.created_at <= e.created_at;
UPDATE models_app_endpointkey e SET parent_key_id = k.id, membership_id = k.membership_id, expires_at = k.expires_at
  FROM tenants_apikey k WHERE k.tenant_id = e.tenant_id AND k.id = e.created_by;
UPDATE models_app_endpointkey e SET revoked_at = exchequer_now()
 WHERE e.revoked_at IS NULL
   AND (e.created_by IS NOT NULL AND e.membership_id IS NULL AND e.parent_key_id IS NULL
        OR EXISTS (SELECT FROM tenants_apikey k
                   WHERE k.tenant_id = e.tenant_id AND k.id = e.parent_key_id AND k.revoked_at IS NOT NULL));
"""

# What made a key must stand, too: its member is one still, its API key works. Its use is noted once a minute.
KEYS = """
CREATE POLICY last_use ON models_app_endpointkey FOR UPDATE TO exchequer_owner USING (true);
CREATE OR REPLACE FUNCTION exchequer_endpoint_keys(digests bytea[])
RETURNS TABLE (tenant_id uuid, endpoint_id uuid, id uuid, digest bytea)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ WITH good AS (
     SELECT k.tenant_id, k.endpoint_id, k.id, k.key_hash, k.last_used_at FROM models_app_endpointkey k
      WHERE k.key_hash = ANY (digests) AND k.revoked_at IS NULL
        AND (k.expires_at IS NULL OR k.expires_at > exchequer_now())
        AND (k.membership_id IS NULL OR EXISTS (
             SELECT FROM tenants_membership m JOIN tenants_user u ON u.id = m.user_id
              WHERE m.id = k.membership_id AND m.tenant_id = k.tenant_id AND u.is_active))
        AND (k.parent_key_id IS NULL OR EXISTS (
             SELECT FROM tenants_apikey a
              WHERE a.id = k.parent_key_id AND a.tenant_id = k.tenant_id AND a.revoked_at IS NULL
                AND (a.expires_at IS NULL OR a.expires_at > exchequer_now())))),
   used AS (
     UPDATE models_app_endpointkey u SET last_used_at = exchequer_now() WHERE u.id IN (
       SELECT k.id FROM models_app_endpointkey k JOIN good g ON g.id = k.id
        WHERE g.last_used_at IS NULL OR g.last_used_at < exchequer_now() - interval '1 minute'
          FOR NO KEY UPDATE OF k SKIP LOCKED))
   SELECT g.tenant_id, g.endpoint_id, g.id, g.key_hash FROM good g $$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("models_app", "0007_versions_can_be_removed"),
        ("tenants", "0005_credentials_descend"),
    ]

    operations = [
        migrations.AddField("endpointkey", "expires_at", models.DateTimeField(null=True)),
        migrations.AddField("endpointkey", "last_used_at", models.DateTimeField(null=True)),
        migrations.AddField("endpointkey", "membership_id", models.UUIDField(null=True)),
        migrations.AddField(
            "endpointkey",
            "parent_key",
            tenants.isolation.scoping.TenantForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="tenants.apikey",
            ),
        ),
        migrations.AddField("modelversion", "requested_by", models.UUIDField(null=True)),
        migrations.RunSQL(OPEN + DESCENT + CHECKED + SHUT, migrations.RunSQL.noop),
        migrations.RunSQL(
            rls.composite_key_sql("models_app_endpointkey", "parent_key_id", "tenants_apikey"), migrations.RunSQL.noop
        ),
        migrations.RunSQL(KEYS, migrations.RunSQL.noop),
    ]
