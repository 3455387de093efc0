"""SQL of migration 0025: usage of a month by line, hour and the dimensions that prices name, within the open scope."""

from tenants.isolation.rls import APP, CONTROL, OPERATOR, TENANT

SUMS = f"""
CREATE FUNCTION billing_usage_of_month(month date, own text[], named jsonb, hourly boolean)
RETURNS TABLE (project_id uuid, meter_id uuid, price_id uuid, outside boolean, dims jsonb, hour timestamptz, quantity numeric, amount numeric)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT r.project_id, r.meter_id, r.price_id, s.source <> ALL (own), d.dims, CASE WHEN hourly THEN r.hour END,
     sum(CASE WHEN r.price_id IS NULL THEN r.measured ELSE r.billable END), sum(r.amount)
   FROM billing_usagerollup r
   JOIN billing_usageseries s ON s.tenant_id = r.tenant_id AND s.hash = r.series_hash
   CROSS JOIN LATERAL (SELECT coalesce(jsonb_object_agg(e.key, e.value), '{{}}') AS dims FROM jsonb_each(s.dims) e
                       WHERE named -> e.key @> e.value) d
   WHERE r.tenant_id = {TENANT} AND r.period = month AND r.day >= month AND r.day < month + interval '1 month'
   GROUP BY 1, 2, 3, 4, 5, 6 $$;
REVOKE ALL ON FUNCTION billing_usage_of_month(date, text[], jsonb, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing_usage_of_month(date, text[], jsonb, boolean) TO {APP}, {CONTROL}, {OPERATOR};
"""  # noqa: S608 (constants)
