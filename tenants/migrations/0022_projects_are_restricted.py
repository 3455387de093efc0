import django.db.models.deletion
from django.db import migrations, models

import tenants.isolation.scoping
from tenants.isolation import rls

# As before, with the project that a key is limited to.
ENTRANCE = """
DROP FUNCTION exchequer_enter_key(text, bytea);
CREATE FUNCTION exchequer_enter_key(start text, digest bytea)
RETURNS TABLE (tenant jsonb, key_id uuid, key_name text, scopes text[], bounded boolean, grants jsonb, project uuid)
LANGUAGE plpgsql VOLATILE AS
$$ DECLARE candidate record;
BEGIN
  FOR candidate IN SELECT * FROM exchequer_api_keys(start) LOOP
    PERFORM set_config('app.tenant', candidate.tenant_id::text, true);
    RETURN QUERY SELECT to_jsonb(t), k.id, k.name::text, k.scopes::text[],
        k.membership_id IS NOT NULL OR k.service_account_id IS NOT NULL,
        exchequer_grants(m.id, a.id), k.project_id
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
    dependencies = [
        ("tenants", "0021_notification_choices"),
    ]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="project",
            field=tenants.isolation.scoping.TenantForeignKey(
                db_constraint=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="tenants.project",
            ),
        ),
        migrations.AddField(
            model_name="project",
            name="archived_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="project",
            name="restricted",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.RunSQL(
            rls.composite_key_sql("tenants_apikey", "project_id", "tenants_project"), migrations.RunSQL.noop
        ),
        migrations.RunSQL(ENTRANCE, migrations.RunSQL.noop),
    ]
