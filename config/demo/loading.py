"""Load the demo into an installation that has no organisation yet: all of it, or nothing."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

from django.conf import settings
from django.db import connection, transaction

from billing.usage import partitions
from compute.fleet import nodes
from compute.scheduling.controller import LEADER_LOCK
from config.demo import serving
from config.demo.children import TrainingPool
from config.demo.clock import DemoClock
from config.demo.organisations import OPERATOR, PASSWORD, Organisation, organisations
from config.demo.simulation import Simulation
from config.demo.tables import MAKERS
from config.demo.tenancy import Tenancy
from models_app.object_store import storage
from tenants import queries
from tenants.access.operator_roles import OPERATOR_ROLES
from tenants.errors import Conflict
from tenants.events import outbox
from tenants.isolation.locks import alone
from tenants.operators import grants

FEWEST_DAYS, MOST_DAYS = 3, 92
LEASE_S = 48 * 3600.0
"""Heartbeats of the demo are a quarter of an hour apart, and quiet nodes more than a day; real leases would expire."""

OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND usename IN ('exchequer_app', 'exchequer_control')
"""
NOTE = "demo-unfinished.json"
Say = Callable[[str], None]


class NotEmpty(Conflict):
    """This installation already has organisations. Load the demo into an empty one."""

    code = "not_empty"


class ProductRuns(Conflict):
    """The product runs on this database, and the demo moves its clock. Stop the product first."""

    code = "product_runs"


@dataclass(frozen=True)
class Loaded:
    """What was created."""

    organisations: int
    jobs: int
    refused: int
    fresh: bool


def load(
    *, number: int, days: int, seed: int, say: Say, until: datetime | None = None, operator: bool = True
) -> Loaded:
    """Create the organisations with their history, unless they exist; `until` is its end, by default now.

    `operator`: also create the operator of the demo. Its password is public, so not beside real organisations. Raises
    NotEmpty if other organisations exist, ProductRuns if another process uses this database.
    """
    companies = organisations(number)
    if known([one.slug for one in companies]):
        note_file().unlink(missing_ok=True)
        return Loaded(number, 0, 0, fresh=False)
    with _alone():
        _tidy_up()
        _note([])  # until this file is removed, the clock may be moved and files may be orphaned in the store
        training_pool = TrainingPool()
        try:
            with _clock(until) as clock, transaction.atomic():
                made = _simulate(companies, clock, training_pool, days=days, seed=seed, say=say)
                if operator:
                    for role in OPERATOR_ROLES:
                        grants.grant(OPERATOR, role, password=PASSWORD)
        finally:
            training_pool.close()
        note_file().unlink()
    return Loaded(number, sum(one.launched for one in made), sum(one.refused for one in made), fresh=True)


def known(slugs: list[str]) -> bool:
    """Return whether the demo is loaded already. Raises NotEmpty if only other organisations exist."""
    there = [slug for slug in slugs if queries.tenant_by_slug(slug) is not None]
    if not there and queries.all_tenant_ids(None):
        raise NotEmpty
    return bool(there)


def note_file() -> Path:
    """Return the file that marks a running or killed load."""
    return settings.EXCHEQUER.home / NOTE


def _simulate(
    companies: tuple[Organisation, ...],
    clock: DemoClock,
    training_pool: TrainingPool,
    *,
    days: int,
    seed: int,
    say: Say,
) -> list[Tenancy]:
    until = clock.until
    start = until - timedelta(days=days)
    tables = {one.slug: MAKERS[one.table](Random(f"{seed}:{one.slug}:table")) for one in companies}
    learned = training_pool.train_all({one.slug: (one, tables[one.slug]) for one in companies})
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
    with _unhurried():
        clock.move_to(start)
        partitions.ensure(start.date(), until.date())
        simulation = Simulation(clock, uuid4())
        node = simulation.open_node()
        slots = serving.open_node(simulation.boot, node.name)
        made: list[Tenancy] = []
        for one in companies:
            tenancy = Tenancy(one, tables[one.slug], learned[one.slug], simulation, slots, seed=seed, days=days)
            tenancy.found()
            made.append(tenancy)
            _note(made)
            tenancy.schedule(start, until)
        for day in range(0, days, max(1, days // 6)):
            simulation.at(start + timedelta(days=day, hours=1), partial(say, f"day {day + 1} of {days}"))
        simulation.run()
        for tenancy in made:
            outbox.drain(tenancy.tenant_id)
    clock.remove()
    for me in (node, slots):
        nodes.alive(me)
    for tenancy in made:
        if tenancy.pipeline.endpoint is not None:
            tenancy.pipeline.endpoint.renew()
    for me in (node, slots):
        nodes.leave(me)  # until the workers of this host start and take over both names
    say("committing")
    return made


@contextmanager
def _clock(until: datetime | None) -> Iterator[DemoClock]:
    clock = DemoClock(settings.EXCHEQUER.database_url("owner"), until)
    try:
        yield clock
    finally:
        clock.close()


@contextmanager
def _alone() -> Iterator[None]:
    """Hold the controller's lock, so that none leads meanwhile. Raises ProductRuns."""
    with alone(LEADER_LOCK) as mine:
        if not mine:
            raise ProductRuns
        with connection.cursor() as cursor:
            cursor.execute(OTHERS)
            (others,) = cursor.fetchone()
        if others:
            raise ProductRuns
        yield


@contextmanager
def _unhurried() -> Iterator[None]:
    """Lengthen the lease for this process, and run garbage collection less often."""
    before, thresholds = settings.EXCHEQUER, gc.get_threshold()
    settings.EXCHEQUER = before.model_copy(update={"lease_s": LEASE_S})
    gc.set_threshold(50_000, 20, 50)  # a hundred thousand queries leave much garbage without cycles
    try:
        yield
    finally:
        settings.EXCHEQUER = before
        gc.set_threshold(*thresholds)


def _note(made: list[Tenancy]) -> None:
    """Record whose files are in the object store before their organisations are committed."""
    note_file().write_text(json.dumps([str(one.tenant_id) for one in made]))


def _tidy_up() -> None:
    """Remove the files of a failed run, which no organisation owns."""
    file = note_file()
    if not file.exists():
        return
    for text in json.loads(file.read_text()):
        tenant_id = UUID(text)
        storage.delete(tenant_id, [item.key for item in storage.listing(tenant_id)])
    file.unlink()
