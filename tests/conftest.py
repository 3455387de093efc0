"""Fixtures of all tests: a real PostgreSQL 18 with the product's roles, and on demand Valkey and SeaweedFS.

A test logs in as `exchequer_test` and uses the role `exchequer_app`, as the web process does; `as_control` provides the
controller's role. Nothing leaves the machine.
"""

from __future__ import annotations

import gc
import os
import pickle
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.examples import NIGHT
from tests.support.servers.environment import use_test_environment

SESSION = use_test_environment()

import psycopg  # noqa: E402 (the environment comes first: importing settings reads it)
import pytest  # noqa: E402
from django.conf import settings as django_settings  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import TransactionTestCase, override_settings  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

from config.console import CHANGED, overrides  # noqa: E402
from config.env import DATABASE_URLS  # noqa: E402

assert django_settings.DATABASES  # read the settings now, so that pytest-django finds them configured

# A loaded machine is slow, not wrong: no example fails for its time. By day a commit always gets the same examples, so
# that its gate is repeatable; nightly runs search new ones.
settings.register_profile("suite", deadline=None, derandomize=not NIGHT, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from pytest_django import DjangoDbBlocker, Settings

    from tests.support.selling import Console
    from tests.support.servers.services import S3

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")

LONGEST_FIRST = (("scenarios",), ("browser", "faults", "component"), ("integration", "api"), ("architecture", "unit"))
"""In this order the workers end together: what takes long begins early, and what takes a moment fills the end.

Folders of one line are mixed: tests of faults wait for leases and processes while those of the browser need the processor.
"""


BEYOND_THE_DATABASE = frozenset(
    {"s3_server", "valkey_url", "own_valkey", "valkey_of_module", "process_environment", "browser"}
)
"""The fixtures that start something beside PostgreSQL: `make test-quick` leaves out the tests that ask for one."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests that need more than PostgreSQL by what they ask for, so that nobody keeps a list of them."""
    if BEYOND_THE_DATABASE.intersection(getattr(item, "fixturenames", ())):
        item.add_marker("services")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the folders by how long their tests take, and mix those of one line; within a folder the order stays random.

    What ends a server that others share is marked to come after them: it would have to start again.
    """
    folders: dict[str, list[pytest.Item]] = {}
    for item in items:
        folders.setdefault(item.path.relative_to(Path(__file__).parent).parts[0], []).append(item)
    places = {
        item: (_place(folder), 1.0 if item.get_closest_marker("last") else at / len(together))
        for folder, together in folders.items()
        for at, item in enumerate(together)
    }
    items.sort(key=places.__getitem__)


def pytest_collection_finish() -> None:
    """Leave what is loaded by now to stay: looking through it for garbage again and again is a part of every test."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)  # Python looks after each 700 new objects, and one page makes many more


def _place(folder: str) -> int:
    return next((at for at, folders in enumerate(LONGEST_FIRST) if folder in folders), 0)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the services of the session, in its main process only."""
    if WORKER == "main":
        SESSION.stop()


@pytest.fixture(scope="session", autouse=True)
def _quick_settings(django_test_environment: None) -> Iterator[None]:
    """Hash passwords quickly and keep counters in memory; both are tested with their real settings elsewhere."""
    from tests.support.servers import static_files

    quick = override_settings(
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
        EMAIL_BACKEND="django.core.mail.backends.locmem.EmailBackend",
    )
    quick.enable()
    patch = pytest.MonkeyPatch()
    static_files.list_once(patch)
    yield
    patch.undo()
    quick.disable()


@pytest.fixture(autouse=True)
def _fresh_counters(_quick_settings: None) -> None:
    """Reset login counters: logins are limited per minute, and no test counts another's."""
    from django.core.cache import cache

    cache.clear()


@pytest.fixture(scope="session")
def django_db_setup(django_test_environment: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Callable[[], None]]:
    """Give this worker its copy of the migrated template, and Django the tests' login; the value empties it again."""
    from tests.support.servers.database import Reset, provide

    with django_db_blocker.unblock():
        reset = Reset(SESSION.cluster, provide(SESSION, WORKER))
    patch = pytest.MonkeyPatch()
    patch.setattr(TransactionTestCase, "_fixture_teardown", lambda case: reset())
    yield reset
    patch.undo()
    reset.close()
    connection.close()


@pytest.fixture
def superuser(django_db_setup: None) -> Iterator[psycopg.Connection]:
    """A connection of the database's superuser, in autocommit mode: its writes are visible to the test at once.

    It sees only what the test committed.
    """
    with SESSION.cluster.superuser(connection.settings_dict["NAME"]) as admin:
        yield admin


@pytest.fixture(scope="session")
def kept() -> dict[str, Any]:
    """Results of `once_made` in this worker, by label."""
    return {}


@pytest.fixture
def once_made(
    transactional_db: None, superuser: psycopg.Connection, kept: dict[str, Any]
) -> Callable[[str, Callable[[], Any]], Any]:
    """`once_made("world", make)`: the rows and the result of `make`.

    They are made by one worker of the session, copied by the others, and restored for each test. Restoring replaces
    every row of the database and runs no trigger. Objects in the store are not part of it: what needs some belongs to
    an `xdist_group`, so that one worker has both.
    """
    from tests.support.servers.database import copy_kept

    database = connection.settings_dict["NAME"]

    def get(label: str, make: Callable[[], Any]) -> Any:
        def made() -> list[str]:
            result = make()
            superuser.execute("SELECT testkit.keep(%s)", [label])
            return [database, b64encode(pickle.dumps(result)).decode()]

        if label not in kept:
            maker, result = SESSION.once(f"made-{label}", made)
            if maker != database:
                copy_kept(SESSION.cluster, label, maker, database)
            kept[label] = pickle.loads(b64decode(result))  # noqa: S301 (a worker of this session wrote it)
        superuser.execute("SELECT testkit.lay(%s)", [label])
        return deepcopy(kept[label])

    return get


@contextmanager
def _as(role: str) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(f"SET ROLE {role}")
    try:
        yield
    finally:
        # In a broken transaction the rollback resets the role; no other statement is possible there.
        broken = (
            connection.connection
            and connection.connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
        )
        if not broken:
            with connection.cursor() as cursor:
                cursor.execute("SET ROLE exchequer_app")


@pytest.fixture
def as_control(db: None) -> Callable[[], AbstractContextManager[None]]:
    """`with as_control():` uses the role `exchequer_control`, as the controller and commands do."""
    return lambda: _as("exchequer_control")


@pytest.fixture
def as_operator(db: None) -> Callable[[], AbstractContextManager[None]]:
    """`with as_operator():` uses the role `exchequer_operator`, as the operators' console does."""
    return lambda: _as("exchequer_operator")


@pytest.fixture
def console(db: None) -> Callable[[], AbstractContextManager[None]]:
    """`with console():` uses the settings and the database role of the operators' console."""

    @contextmanager
    def enter() -> Iterator[None]:
        given = {name: getattr(django_settings, name) for name in CHANGED}
        with override_settings(**overrides(django_settings.EXCHEQUER, given)), _as("exchequer_operator"):
            yield

    return enter


@pytest.fixture
def seller(
    console: Callable[[], AbstractContextManager[None]],
    as_control: Callable[[], AbstractContextManager[None]],
    settings: Settings,
) -> Callable[..., Console]:
    """`seller("platform_finance")`: an operator with these roles, logged in at the console."""
    from tenants.operators import grants
    from tests.support.factories import PASSWORD
    from tests.support.selling import Console

    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"demo": True, "bound_to": "127.0.0.1"})

    def make(*roles: str) -> Console:
        email = f"{'-'.join(roles)}@platform.example"
        with as_control():
            for role in roles:
                grants.grant(email, role, password=PASSWORD)
        browser = Console(console)
        browser.log_in(email, PASSWORD)
        return browser

    return make


@pytest.fixture
def demo_clock(superuser: psycopg.Connection) -> Iterator[DemoClock]:
    """Moves of `exchequer_now()`: `demo_clock.advance(timedelta(days=3))`, `demo_clock.move_to(datetime(...))`.

    The move is committed at once, for every connection of this worker's database, and undone after the test.
    """
    yield DemoClock(superuser)
    superuser.execute("DELETE FROM demo_clock")


class DemoClock:
    """The offset of `exchequer_now()`; time continues after each move."""

    def __init__(self, admin: psycopg.Connection) -> None:
        self._admin = admin

    def advance(self, by: timedelta) -> None:
        """Move the clock forward by `by`."""
        self._admin.execute(
            "INSERT INTO demo_clock (shift) VALUES (%(by)s) ON CONFLICT (only_row) DO UPDATE SET shift = demo_clock.shift + %(by)s",
            {"by": by},
        )

    def move_to(self, moment: datetime) -> None:
        """Set the clock to `moment` (aware)."""
        self._admin.execute(
            "INSERT INTO demo_clock (shift) VALUES (%(to)s - clock_timestamp()) "
            "ON CONFLICT (only_row) DO UPDATE SET shift = excluded.shift",
            {"to": moment},
        )


@pytest.fixture(scope="session")
def valkey_url() -> str:
    """The URL of a real Valkey, started for the first test that needs it; each worker has its own database.

    A test that flushes or stops its server takes `own_valkey`.
    """
    number = int(WORKER.removeprefix("gw")) if WORKER.startswith("gw") else 0
    return f"{SESSION.start_valkey().removesuffix('/0')}/{number}"


@pytest.fixture
def own_valkey(request: pytest.FixtureRequest) -> str:
    """The URL of a Valkey that this test alone uses."""
    return SESSION.start_valkey(f"valkey-{WORKER}-{abs(hash(request.node.nodeid))}")


@pytest.fixture(scope="module")
def valkey_of_module(request: pytest.FixtureRequest) -> str:
    """The URL of a Valkey that the tests of one module share."""
    return SESSION.start_valkey(f"valkey-{WORKER}-{abs(hash(request.node.nodeid))}")


@pytest.fixture(scope="session")
def s3_server() -> S3:
    """A real S3 store with this worker's bucket, started for the first test that needs it."""
    return SESSION.start_s3(f"exchequer-{WORKER}")


@pytest.fixture
def s3(s3_server: S3, settings: Settings) -> S3:
    """The S3 store of `s3_server`, with settings that point there for this test."""
    from models_app.object_store import s3 as store

    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(
        update={
            "s3_endpoint_url": s3_server.endpoint_url,
            "s3_bucket": s3_server.bucket,
            "aws_access_key_id": s3_server.access_key,
            "aws_secret_access_key": s3_server.secret_key,
        }
    )
    # The operator log of a test before is not the one of this test.
    store.delete([one.key for one in store.listing("audit/platform/")])
    return s3_server


@pytest.fixture(scope="session")
def process_environment(django_db_setup: object) -> Callable[..., dict[str, str]]:
    """`process_environment(role="control", **more)`: variables for a real process on this test's database.

    It logs in as one of the product's roles. The test must commit what that process is to see.
    """

    def build(role: str = "app", **more: Any) -> dict[str, str]:
        database = connection.settings_dict["NAME"]
        variable = DATABASE_URLS[role]
        names = tuple(DATABASE_URLS.values())
        kept = {
            name: value for name, value in os.environ.items() if name not in names and not name.startswith("PYTEST")
        }
        url = SESSION.cluster.url(f"exchequer_{role}", database)
        return kept | {variable: url, "EXCHEQUER_DB_ROLE": role} | {name: str(value) for name, value in more.items()}

    return build


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests of a process: Playwright's synchronous interface runs once per thread."""
    from playwright.sync_api import sync_playwright

    from tests.browser import chromium

    # It keeps an event loop in this thread, beside which Django would refuse to query.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        started = chromium.launch(playwright)
        yield started
        started.close()
