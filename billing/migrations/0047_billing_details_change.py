"""To whom a contract's invoices go changes at any time; its prices and terms do not."""

from typing import ClassVar

from django.db import migrations

from billing.migrations._currencies import KEPT as KEPT_BEFORE

_BEFORE = """(to_jsonb(NEW) - 'ends_on') IS DISTINCT FROM (to_jsonb(OLD) - 'ends_on')
        OR OLD.ends_on < earliest OR NEW.ends_on < earliest THEN
        RAISE EXCEPTION 'a contract that has begun takes an end ahead of now, and nothing else'"""
_AFTER = """(to_jsonb(NEW) - free) IS DISTINCT FROM (to_jsonb(OLD) - free)
        OR (NEW.ends_on IS DISTINCT FROM OLD.ends_on AND (OLD.ends_on < earliest OR NEW.ends_on < earliest)) THEN
        RAISE EXCEPTION 'a contract that has begun takes an end ahead of now and other billing details, and nothing else'"""
_DECLARE = "DECLARE\n"
_FREE = """DECLARE
    free constant text[] := '{ends_on,billing_name,billing_address,billing_email,tax_number,country}';
"""
assert _BEFORE in KEPT_BEFORE and _DECLARE in KEPT_BEFORE  # noqa: S101 (the function of 0045 with another check)
KEPT = KEPT_BEFORE.replace(_BEFORE, _AFTER).replace(_DECLARE, _FREE)


class Migration(migrations.Migration):
    dependencies: ClassVar = [("billing", "0046_each_dispute_counts_once")]

    operations: ClassVar = [migrations.RunSQL(KEPT, KEPT_BEFORE)]
