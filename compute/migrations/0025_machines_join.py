"""Machines join with a token; operators drain and end nodes."""

from django.db import migrations, models

import tenants.clock
import tenants.ids
from tenants.isolation.rls import GrantTable

# A token lets one machine in as one node; its earlier credentials, if it had any, end. Only the owner makes logins.
FUNCTIONS = """
CREATE FUNCTION compute_join_node(shown bytea, verifier text, OUT node uuid, OUT login text) RETURNS SETOF record
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$ DECLARE wanted text; BEGIN
  UPDATE compute_nodetoken t SET used_at = exchequer_now()
    WHERE t.digest = shown AND t.used_at IS NULL AND t.revoked_at IS NULL AND t.expires_at > exchequer_now()
    RETURNING t.node_name INTO wanted;
  IF wanted IS NULL THEN RETURN; END IF;
  INSERT INTO compute_node (id, name, hostname, boot, accepting, missing_layers)
    VALUES (gen_random_uuid(), wanted, wanted, gen_random_uuid(), false, '[]')
    ON CONFLICT (name) DO UPDATE SET ended_at = NULL RETURNING id INTO node;
  PERFORM exchequer_roles.end_node(node);
  login := exchequer_roles.admit_node(node, verifier);
  RETURN NEXT;
END $$;
CREATE FUNCTION compute_end_node(ended uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$ BEGIN
  UPDATE compute_node SET ended_at = exchequer_now(), accepting = false WHERE id = ended;
  PERFORM exchequer_roles.end_node(ended);
END $$;
REVOKE ALL ON FUNCTION compute_join_node(bytea, text), compute_end_node(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION compute_join_node(bytea, text) TO exchequer_operator;
GRANT EXECUTE ON FUNCTION compute_end_node(uuid) TO exchequer_operator, exchequer_control;
GRANT UPDATE (release) ON compute_node TO exchequer_node;
GRANT UPDATE (draining) ON compute_node TO exchequer_operator;
"""
NONE = "DROP FUNCTION compute_join_node(bytea, text); DROP FUNCTION compute_end_node(uuid);"


class Migration(migrations.Migration):
    dependencies = [("compute", "0024_looks_read_hours")]

    operations = [
        migrations.AddField("node", "draining", models.BooleanField(db_default=False, default=False)),
        migrations.AddField("node", "release", models.PositiveSmallIntegerField(db_default=0, default=0)),
        migrations.AddField("node", "ended_at", models.DateTimeField(null=True)),
        migrations.CreateModel(
            name="NodeToken",
            fields=[
                (
                    "id",
                    models.UUIDField(default=tenants.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                ("node_name", models.CharField(max_length=120)),
                ("digest", models.BinaryField(unique=True)),
                ("made_by", models.UUIDField()),
                ("made_by_label", models.CharField(max_length=254)),
                ("created_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
                ("expires_at", models.DateTimeField()),
                ("used_at", models.DateTimeField(null=True)),
                ("revoked_at", models.DateTimeField(null=True)),
            ],
            options={"indexes": [models.Index(fields=["-id"], name="compute_nodetoken_newest")]},
        ),
        GrantTable(
            "NodeToken",
            control="SELECT, INSERT, UPDATE, DELETE",
            operator="SELECT, INSERT, UPDATE (revoked_at)",
        ),
        migrations.RunSQL(FUNCTIONS, NONE),
    ]
