"""Each node has a secret by which it asks for the keys and files of its live work."""

import django.db.models.deletion
from django.db import migrations, models

import tenants.clock
from tenants.isolation.rls import GrantTable

# As in 0025, and with the digest of the node's secret, which goes with its login.
FUNCTIONS = """
DROP FUNCTION compute_join_node(bytea, text);
CREATE FUNCTION compute_join_node(shown bytea, verifier text, secret bytea, OUT node uuid, OUT login text) RETURNS SETOF record
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
  INSERT INTO compute_nodesecret (node_id, digest) VALUES (node, secret)
    ON CONFLICT (node_id) DO UPDATE SET digest = EXCLUDED.digest, created_at = exchequer_now();
  RETURN NEXT;
END $$;
CREATE OR REPLACE FUNCTION compute_end_node(ended uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$ BEGIN
  UPDATE compute_node SET ended_at = exchequer_now(), accepting = false WHERE id = ended;
  DELETE FROM compute_nodesecret WHERE node_id = ended;
  PERFORM exchequer_roles.end_node(ended);
END $$;
REVOKE ALL ON FUNCTION compute_join_node(bytea, text, bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION compute_join_node(bytea, text, bytea) TO exchequer_operator;
"""


class Migration(migrations.Migration):
    dependencies = [("compute", "0032_devices_have_links")]

    operations = [
        migrations.CreateModel(
            name="NodeSecret",
            fields=[
                (
                    "node",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="compute.node",
                    ),
                ),
                ("digest", models.BinaryField(unique=True)),
                ("created_at", models.DateTimeField(db_default=tenants.clock.DatabaseNow(), editable=False)),
            ],
        ),
        GrantTable("NodeSecret", app="SELECT"),
        migrations.RunSQL(FUNCTIONS, migrations.RunSQL.noop),
    ]
