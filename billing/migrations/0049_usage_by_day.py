"""A month's usage by line and stored day, which stays the day that it had, whatever the zone is since."""

from typing import ClassVar

from django.db import migrations

from tenants.isolation.rls import APP, CONTROL, OPERATOR, TENANT

SUMS = f"""
CREATE FUNCTION billing_usage_by_day(month date, own text[])
RETURNS TABLE (project_id uuid, meter_id uuid, price_id uuid, rate_id uuid, outside boolean, day date, amount numeric)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT r.project_id, r.meter_id, r.price_id, r.rate_id, s.source <> ALL (own), r.day, sum(r.amount)
   FROM billing_usagerollup r JOIN billing_usageseries s ON s.tenant_id = r.tenant_id AND s.hash = r.series_hash
   WHERE r.tenant_id = {TENANT} AND r.period = month AND r.day >= month AND r.day < month + interval '1 month'
   GROUP BY 1, 2, 3, 4, 5, 6 $$;
REVOKE ALL ON FUNCTION billing_usage_by_day(date, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION billing_usage_by_day(date, text[]) TO {APP}, {CONTROL}, {OPERATOR};
"""  # noqa: S608 (constants)


class Migration(migrations.Migration):
    dependencies: ClassVar = [("billing", "0048_disputed_credit_names_its_payment")]

    operations: ClassVar = [migrations.RunSQL(SUMS, "DROP FUNCTION billing_usage_by_day(date, text[])")]
