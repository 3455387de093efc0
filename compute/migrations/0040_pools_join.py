"""A token of a pool lets in every machine of the pool, as often as it starts."""

from django.db import migrations, models

# As in 0033; a pool's token is not used up, and the machine names itself. Of the release before, three arguments come.
FUNCTION = """
DROP FUNCTION compute_join_node(bytea, text, bytea);
CREATE FUNCTION compute_join_node(shown bytea, verifier text, secret bytea, named text DEFAULT NULL, OUT node uuid, OUT login text)
RETURNS SETOF record LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$ DECLARE wanted text; BEGIN
  UPDATE compute_nodetoken t SET used_at = CASE WHEN t.pool THEN NULL ELSE exchequer_now() END
    WHERE t.digest = shown AND t.used_at IS NULL AND t.revoked_at IS NULL AND t.expires_at > exchequer_now()
      AND (NOT t.pool OR starts_with(named, t.node_name || '-'))
    RETURNING CASE WHEN t.pool THEN named ELSE t.node_name END INTO wanted;
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
REVOKE ALL ON FUNCTION compute_join_node(bytea, text, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION compute_join_node(bytea, text, bytea, text) TO exchequer_operator;
"""


class Migration(migrations.Migration):
    dependencies = [("compute", "0038_shares_of_one_tenant")]

    operations = [
        migrations.AddField("nodetoken", "pool", models.BooleanField(db_default=False, default=False)),
        migrations.RunSQL(FUNCTION, migrations.RunSQL.noop),
    ]
