"""Operators open a class of devices for shares; launches may then ask for one, pay and hold its part, and say so everywhere."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any

import pytest

from billing.models import Hold
from compute import queries
from compute.jobs import jobs
from compute.jobs.repricing import grace_s
from compute.models import Device, Job
from compute.scheduling import waits
from tenants.errors import Invalid
from tenants.isolation.scoping import tenant_scope
from tenants.models import OperatorAct
from tests.integration.billing.invoicing.test_console_pages import words
from tests.integration.compute.test_leases import World
from tests.support import selling

pytestmark = pytest.mark.django_db(transaction=True)
PAGE, API = "/fleet/shares/", "/api/operator/v1/fleet/shares/"
OPEN = {"device_class": "cpu", "shares": ["1/4", "1/2"], "reason": "Small jobs wait"}


@pytest.fixture
def world(as_control: Callable[[], AbstractContextManager[None]]) -> World:
    return World(as_control)


@pytest.fixture
def admin(world: World, seller: Any) -> Any:
    return seller("platform_admin")


def test_an_operator_opens_a_class_and_closes_it_and_the_log_says_so(admin: Any, seller: Any) -> None:
    assert "whole devices only" in words(admin.get("/fleet/"))
    answer = admin.put(API, OPEN, content_type="application/json")
    assert (answer.status_code, answer.json()["shares"]) == (200, ["1/2", "1/4"])
    again = admin.post(PAGE, OPEN)
    assert (again.status_code, "open for exactly that already: 1/2, 1/4" in words(again)) == (409, True)
    page = admin.post(PAGE, {**OPEN, "shares": ["1/8"]}, follow=True)
    assert (page.status_code, "CPU devices may be shared: 1/8." in words(page)) == (200, True)
    closed = admin.put(API, {**OPEN, "shares": []}, content_type="application/json")
    assert closed.json()["shares"] == admin.get(API).json()["results"][0]["shares"] == []
    assert seller("platform_support").put(API, OPEN, content_type="application/json").status_code == 403
    with selling.role("exchequer_operator"):
        acts = OperatorAct.objects.filter(action="compute.device_class.shares_set").order_by("seq")
        assert list(acts.values_list("target_label", "reason")) == [
            ("cpu: 1/2, 1/4", "Small jobs wait"),
            ("cpu: 1/8", "Small jobs wait"),
            ("cpu: closed", "Small jobs wait"),
        ]


@pytest.mark.parametrize(
    ("wrong", "field", "said"),
    [
        ({"device_class": "h100"}, "device_class", "Choose one of: cpu."),
        ({"shares": ["1/3"]}, "shares", "1/3 is no share. Choose among 1/2, 1/4, 1/5, 1/8, 1/10, or none of them."),
        ({"shares": ["1/2", "1/2", "2"]}, "shares", "2 is no share."),
    ],
)
def test_what_cannot_be_opened_is_refused_and_said(admin: Any, wrong: dict[str, Any], field: str, said: str) -> None:
    answer = admin.put(API, OPEN | wrong, content_type="application/json")
    assert (answer.status_code, said in answer.json()["fields"][field][0]) == (400, True)
    page = admin.post(PAGE, OPEN | wrong)
    assert page.status_code == 400
    if field == "shares":
        assert said in words(page)


def test_no_launch_asks_for_a_share_of_a_class_that_is_not_open_for_it(world: World, admin: Any) -> None:
    with tenant_scope(world.tenant.id), pytest.raises(Invalid) as refused:
        world.submit(share=500)
    assert refused.value.fields["share"] == ["Devices of this class are not shared. Leave it out, or use 1."]
    admin.put(API, OPEN, content_type="application/json")
    with tenant_scope(world.tenant.id):
        for asked, said in (
            ({"share": 125}, "Choose one of: 1, 1/2, 1/4."),
            ({"share": 500, "devices": 2}, "whole ones"),
        ):
            with pytest.raises(Invalid) as refused:
                world.submit(**asked)
            assert said in refused.value.fields["share"][0]


def test_instances_of_a_gpu_do_not_work_together(world: World) -> None:
    with world.control():
        Device.objects.update(device_class="nvidia-h200-mig-1g-18gb")
    with tenant_scope(world.tenant.id), pytest.raises(Invalid) as refused:
        world.submit(device_class="nvidia-h200-mig-1g-18gb", devices=2)
    assert refused.value.fields["devices"] == [
        "Instances of a GPU cannot work together. Use 1 device, or a class of whole GPUs."
    ]


def test_a_share_holds_its_part_of_the_money_and_a_clone_asks_for_it_again(world: World, admin: Any) -> None:
    admin.put(API, OPEN, content_type="application/json")
    job_id = world.submit(share=250)
    with tenant_scope(world.tenant.id):
        job = Job.objects.get(id=job_id)
        held = Hold.objects.get(id=job.hold_id).amount
        assert held == (Decimal(100) + grace_s()) * job.unit_amount / 4
        assert queries.job_detail(job_id).share_said == "1/4"
        assert jobs.clone(actor=world.actor, job_id=job_id).share == 250
    with world.control():
        Device.objects.filter(index=1).update(state="cordoned")
        assert Device.objects.count() == 2
    assert len(world.assign()) == 2


def test_a_job_that_waits_for_a_share_says_what_keeps_it_out(world: World, admin: Any) -> None:
    admin.put(API, OPEN, content_type="application/json")
    for _ in range(4):
        world.submit(share=500)
    waiting = world.submit(share=500)
    assert len(world.assign()) == 4
    with world.control():
        waits.explain_all({})
    with tenant_scope(world.tenant.id):
        why = queries.job_detail(waiting).waiting_for or {}
    assert why["reason"].startswith(
        "No 1/2 of a CPU device is free for it: the jobs of one organisation alone share a device. It starts when one is free"
    )
