"""What the controller decides, against the real database; its processes are tested in tests/faults."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from compute import jobs, nodes
from compute.devices.base import Found
from compute.scheduling import assign
from tests import factories
from tests.fakes.runner import kind

pytestmark = pytest.mark.django_db(transaction=True)

Control = Callable[[], AbstractContextManager[None]]


def test_try(as_control: Control, tmp_path: Path) -> None:
    kind.install()
    tenant = factories.make_tenant()
    actor = factories.actor_for(tenant)
    nodes.register(
        name="n1",
        hostname="h",
        boot=uuid.uuid4(),
        found=[Found("cpu-0", "cpu", "cpu", "CPU 0 of host h", 0, 2**30)],
        missing_layers=[],
    )
    jobs.submit(
        actor=actor,
        name="a",
        kind="tick",
        project_id=factories.default_project_id(tenant),
        spec={"steps": 3, "store": "x"},
        device_class="cpu",
    )
    with as_control():
        rings = assign.assign_all()
    assert len(rings) == 1
