"""What the database itself refuses in billing's tables."""

from __future__ import annotations

import pytest
from django.db import connection


@pytest.mark.django_db
def test_every_partition_of_usage_is_locked_and_granted_to_nobody() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity, "
            "has_table_privilege('exchequer_app', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE') "
            "OR has_table_privilege('exchequer_control', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE') "
            "FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'billing_usageevent'::regclass"
        )
        partitions = cursor.fetchall()
    assert len(partitions) >= 5
    assert [name for name, forced, granted in partitions if not forced or granted] == []
