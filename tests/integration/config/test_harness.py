"""The fixtures keep their own guarantees."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import redis
from django.conf import settings
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import ProgrammingError, connection, transaction

from tenants.clock import now
from tenants.models import User
from tests.conftest import DemoClock
from tests.support.factories import make_tenant
from tests.support.servers.services import S3


def who() -> tuple[str, str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT session_user::text, current_user::text")
        row: tuple[str, str] = cursor.fetchone()
    return row


@pytest.mark.django_db
def test_a_test_works_as_the_app_and_borrows_the_control_role(
    as_control: Callable[[], AbstractContextManager[None]],
) -> None:
    assert who() == ("exchequer_test", "exchequer_app")
    with as_control():
        assert who() == ("exchequer_test", "exchequer_control")
    assert who() == ("exchequer_test", "exchequer_app")


@pytest.mark.django_db
def test_the_role_comes_back_after_an_error_in_the_database(
    as_control: Callable[[], AbstractContextManager[None]],
) -> None:
    with pytest.raises(ProgrammingError), transaction.atomic(), as_control(), connection.cursor() as cursor:
        cursor.execute("SELECT FROM no_such_table")
    assert who()[1] == "exchequer_app"


@pytest.mark.django_db
def test_the_app_role_cannot_truncate() -> None:
    with (
        pytest.raises(ProgrammingError, match="permission denied"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("TRUNCATE tenants_tenant CASCADE")


@pytest.mark.django_db
def test_the_clock_moves_for_everybody(demo_clock: DemoClock) -> None:
    before = now()
    demo_clock.advance(timedelta(days=3))
    assert timedelta(days=3) <= now() - before < timedelta(days=3, minutes=1)
    demo_clock.move_to(datetime(2030, 1, 1, tzinfo=UTC))
    assert now().year == 2030


@pytest.mark.django_db
def test_the_clock_is_back_after_a_test() -> None:
    assert abs(now() - datetime.now(UTC)) < timedelta(minutes=1)


# The second turn looks at what the first one left, so both have one worker.
@pytest.mark.xdist_group("reset")
@pytest.mark.parametrize("turn", [1, 2])
@pytest.mark.django_db(transaction=True)
def test_what_a_test_commits_is_gone_and_what_migrations_made_stays(superuser: psycopg.Connection, turn: int) -> None:
    assert not ContentType.objects.filter(app_label="nowhere").exists()
    assert not User.objects.exists()
    assert ContentType.objects.filter(app_label="tenants", model="tenant").exists()
    assert not Permission.objects.filter(name="changed").exists()
    make_tenant()
    superuser.execute("INSERT INTO django_content_type (app_label, model) VALUES ('nowhere', 'nothing')")
    superuser.execute("UPDATE auth_permission SET name = 'changed' WHERE codename = 'view_tenant'")
    superuser.execute("SET session_replication_role = replica")
    superuser.execute("DELETE FROM django_content_type WHERE app_label = 'tenants' AND model = 'tenant'")


@pytest.mark.xdist_group("reset")
@pytest.mark.parametrize("turn", [1, 2])
@pytest.mark.django_db(transaction=True)
def test_a_test_that_ends_every_connection_is_tidied_up_after_too(superuser: psycopg.Connection, turn: int) -> None:
    assert not User.objects.exists()
    make_tenant()
    connection.close()
    superuser.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


def test_a_valkey_of_ones_own_is_another_one(valkey_url: str, own_valkey: str) -> None:
    with redis.Redis.from_url(valkey_url) as shared, redis.Redis.from_url(own_valkey) as own:
        shared.set("note", "kept")
        own.flushall()
        assert shared.get("note") == b"kept"


def test_a_run_of_database_tests_skips_tests_that_need_a_service(s3: S3, request: pytest.FixtureRequest) -> None:
    """`s3` asks for the server: the mark follows what fixtures ask for themselves."""
    assert request.node.get_closest_marker("services") is not None


def test_a_test_of_the_database_alone_has_no_services_marker(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("services") is None


def test_settings_point_to_the_object_store_of_the_test(s3: S3) -> None:
    assert settings.EXCHEQUER.s3_endpoint_url == s3.endpoint_url
    assert settings.EXCHEQUER.s3_bucket == s3.bucket
