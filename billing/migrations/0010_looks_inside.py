from django.db import migrations

from tenants.isolation import rls

# What an operator reads who looks inside a tenant: what its work has used and cost. No budget, hold, ledger or invoice.
READ = rls.glass_sql("billing_meter", "billing_usagerollup", "billing_usageseries")


class Migration(migrations.Migration):
    dependencies = [("billing", "0009_books_are_the_platforms"), ("tenants", "0027_break_glass")]

    operations = [migrations.RunSQL(READ)]
