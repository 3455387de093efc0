from django.db import migrations

# A serving node asks once a batch: which of these keys are good, and what their creators may do now. Grants are null for
# a key that Exchequer made, scopes for one that no API key made. With the rights of the caller: each key's tenant is
# entered by setting it, as `exchequer_enter_key` does.
KEYS = """
CREATE FUNCTION exchequer_serving_keys(digests bytea[])
RETURNS TABLE (tenant_id uuid, endpoint_id uuid, id uuid, digest bytea, grants jsonb, scopes text[], only_project uuid,
               project_id uuid, restricted boolean)
LANGUAGE plpgsql VOLATILE AS
$$
#variable_conflict use_column
DECLARE
  entered text := coalesce(current_setting('app.tenant', true), '');
  good record;
BEGIN
  FOR good IN SELECT * FROM exchequer_endpoint_keys(digests) LOOP
    PERFORM set_config('app.tenant', good.tenant_id::text, true);
    RETURN QUERY SELECT k.tenant_id, k.endpoint_id, k.id, k.key_hash,
        CASE WHEN k.membership_id IS NOT NULL OR k.service_account_id IS NOT NULL THEN exchequer_grants(m.id, a.id) END,
        p.scopes::text[], p.project_id, e.project_id, j.restricted
      FROM models_app_endpointkey k
      JOIN models_app_endpoint e ON e.id = k.endpoint_id
      JOIN tenants_project j ON j.id = e.project_id
      LEFT JOIN tenants_membership m ON m.id = k.membership_id
      LEFT JOIN tenants_serviceaccount a ON a.id = k.service_account_id AND a.disabled_at IS NULL
      LEFT JOIN tenants_apikey p ON p.id = k.parent_key_id
      WHERE k.id = good.id;
  END LOOP;
  PERFORM set_config('app.tenant', entered, true);
END $$;
REVOKE ALL ON FUNCTION exchequer_serving_keys(bytea[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION exchequer_serving_keys(bytea[]) TO exchequer_app, exchequer_control;
"""
GONE = "DROP FUNCTION exchequer_serving_keys(bytea[]);"


class Migration(migrations.Migration):
    dependencies = [("models_app", "0019_endpoints_have_tags"), ("tenants", "0044_keys_succeed_keys")]

    operations = [migrations.RunSQL(KEYS, GONE)]
