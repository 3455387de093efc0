import django.db.models.deletion
from django.db import migrations, models

import tenants.isolation.scoping
from tenants.isolation import rls

# Policies bind the owner, too; without FORCE it may write the rows of every tenant, until the end of this migration.
TABLES = ("tenants_apikey", "tenants_invitation", "tenants_membership", "tenants_auditentry")
OPEN = "".join(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY;" for table in TABLES)
# A table whose references are still to be checked cannot be altered.
CHECKED = "SET CONSTRAINTS ALL IMMEDIATE;SET CONSTRAINTS ALL DEFERRED;"
SHUT = "".join(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY;" for table in TABLES)

# What made a credential so far is known from the audit log. Whatever outlives its maker ends here, and what somebody made
# who left and came back since stays with the membership that ended.
DESCENT = """
UPDATE tenants_apikey k SET parent_key_id = e.actor_id FROM tenants_auditentry e
 WHERE e.tenant_id = k.tenant_id AND e.action = 'tenants.api_key.created' AND e.actor_type = 'api_key'
   AND e.target_id = k.id::text
   AND EXISTS (SELECT FROM tenants_apikey p WHERE p.tenant_id = k.tenant_id AND p.id = e.actor_id);
UPDATE tenants_apikey k SET membership_id = m.id FROM tenants_membership m
 WHERE m.tenant_id = k.tenant_id AND m.user_id = k.created_by_id AND m.created_at <= k.created_at;
UPDATE tenants_apikey SET revoked_at = exchequer_now()
 WHERE created_by_id IS NOT NULL AND membership_id IS NULL AND revoked_at IS NULL;
WITH RECURSIVE tree AS (
  SELECT k.id, k.revoked_at, k.expires_at FROM tenants_apikey k WHERE k.parent_key_id IS NULL
  UNION ALL
  SELECT k.id, coalesce(k.revoked_at, CASE WHEN t.revoked_at IS NOT NULL THEN exchequer_now() END),
         least(k.expires_at, t.expires_at)
  FROM tenants_apikey k JOIN tree t ON k.parent_key_id = t.id)
UPDATE tenants_apikey k SET revoked_at = t.revoked_at, expires_at = t.expires_at FROM tree t
 WHERE t.id = k.id AND (k.revoked_at, k.expires_at) IS DISTINCT FROM (t.revoked_at, t.expires_at);
-- A key that Exchequer made for an organisation is answered for by its first owner.
UPDATE tenants_apikey k SET created_by_id = (
  SELECT m.user_id FROM tenants_membership m WHERE m.tenant_id = k.tenant_id AND m.role = 'owner'
  ORDER BY m.created_at, m.id LIMIT 1) WHERE k.created_by_id IS NULL;

UPDATE tenants_invitation i SET parent_key_id = e.actor_id FROM tenants_auditentry e
 WHERE e.tenant_id = i.tenant_id AND e.action = 'tenants.invitation.issued' AND e.actor_type = 'api_key'
   AND e.target_id = i.id::text
   AND EXISTS (SELECT FROM tenants_apikey p WHERE p.tenant_id = i.tenant_id AND p.id = e.actor_id);
UPDATE tenants_invitation i SET membership_id = m.id FROM tenants_membership m
 WHERE m.tenant_id = i.tenant_id AND m.user_id = i.invited_by_id AND m.created_at <= i.created_at;
UPDATE tenants_invitation i SET expires_at = least(i.expires_at, k.expires_at) FROM tenants_apikey k
 WHERE k.tenant_id = i.tenant_id AND k.id = i.parent_key_id AND i.accepted_at IS NULL AND k.expires_at < i.expires_at;
UPDATE tenants_invitation i SET revoked_at = exchequer_now()
 WHERE i.accepted_at IS NULL AND i.revoked_at IS NULL
   AND (i.invited_by_id IS NOT NULL AND i.membership_id IS NULL
        OR EXISTS (SELECT FROM tenants_apikey k
                   WHERE k.tenant_id = i.tenant_id AND k.id = i.parent_key_id AND k.revoked_at IS NOT NULL));
"""
PARENT = tenants.isolation.scoping.TenantForeignKey(
    db_constraint=False,
    null=True,
    on_delete=django.db.models.deletion.PROTECT,
    related_name="+",
    to="tenants.apikey",
)


class Migration(migrations.Migration):
    dependencies = [("tenants", "0004_theme_follows_the_system")]

    operations = [
        migrations.AddField("apikey", "membership_id", models.UUIDField(null=True)),
        migrations.AddField("apikey", "parent_key", PARENT),
        migrations.AddField("invitation", "membership_id", models.UUIDField(null=True)),
        migrations.AddField("invitation", "parent_key", PARENT.clone()),
        migrations.AddField("tenant", "self_approval", models.BooleanField(default=False)),
        migrations.RunSQL(OPEN + DESCENT + CHECKED + SHUT, migrations.RunSQL.noop),
        *(
            migrations.RunSQL(rls.composite_key_sql(table, "parent_key_id", "tenants_apikey"), migrations.RunSQL.noop)
            for table in ("tenants_apikey", "tenants_invitation")
        ),
    ]
