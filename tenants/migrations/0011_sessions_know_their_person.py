from django.db import migrations, models

import tenants.clock
from tenants.isolation import rls

# A session, its person, the tenant it is in and all grants, in one statement. It runs with the caller's rights. Its person
# is the one of the row; Django compares with the signed data and the password's hash before anything is believed.
ENTRANCE = """
CREATE FUNCTION exchequer_enter_session(cookie text, short_name text)
RETURNS TABLE (session_data text, person jsonb, tenant jsonb, grants jsonb) LANGUAGE plpgsql VOLATILE AS
$$ DECLARE
  open_one tenants_session;
  organisation uuid;
BEGIN
  SELECT s.* INTO open_one FROM tenants_session s WHERE s.session_key = cookie AND s.expire_date > clock_timestamp();
  IF open_one.user_id IS NULL THEN RETURN; END IF;
  short_name := coalesce(nullif(short_name, ''), open_one.tenant_slug);
  organisation := CASE WHEN short_name = '' THEN exchequer_only_tenant(open_one.user_id)
                       ELSE exchequer_tenant_for(open_one.user_id, short_name) END;
  RETURN QUERY SELECT open_one.session_data, to_jsonb(u), e.tenant, e.grants
    FROM tenants_user u LEFT JOIN exchequer_enter_member(u.id, organisation) e ON true WHERE u.id = open_one.user_id;
END $$;
"""
# Sessions of before end: their rows do not say whose they are.
ENDED = "DROP TABLE django_session;"


class Migration(migrations.Migration):
    dependencies = [("tenants", "0010_rights_are_rows"), ("sessions", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="Session",
            fields=[
                (
                    "session_key",
                    models.CharField(max_length=40, primary_key=True, serialize=False, verbose_name="session key"),
                ),
                ("session_data", models.TextField(verbose_name="session data")),
                ("expire_date", models.DateTimeField(db_index=True, verbose_name="expire date")),
                ("user_id", models.UUIDField(null=True)),
                ("tenant_slug", models.CharField(blank=True, max_length=50)),
                ("ip", models.CharField(blank=True, max_length=45)),
                ("user_agent", models.CharField(blank=True, max_length=254)),
                ("created_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
            ],
            options={
                "verbose_name": "session",
                "verbose_name_plural": "sessions",
                "abstract": False,
                "indexes": [models.Index(fields=["user_id"], name="session_user")],
            },
        ),
        rls.GrantTable("Session", app=rls.ALL, control=rls.ALL),
        migrations.RunSQL(ENTRANCE + ENDED, "DROP FUNCTION exchequer_enter_session(text, text);"),
    ]
