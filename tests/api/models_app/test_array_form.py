"""Arrays from the launch form: the number of jobs and their money before, each fault at its field, one launch for one key."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from billing.budgets import budgets
from compute.models import Job, JobSet
from models_app.models import DatasetVersion, Preset
from tenants.ids import uuid7
from tenants.isolation.scoping import tenant_scope
from tests.api.objects import launchable
from tests.support import factories
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db
NEW = "/t/lab/jobs/new/"


class Form:
    """The launch form of an engineer, over a dataset that is ready."""

    def __init__(self) -> None:
        self.tenant = factories.make_tenant("lab")
        order = launchable(self.tenant)
        self.client = Client()
        self.client.force_login(factories.make_member(self.tenant, "engineer"))
        self.client.get("/t/lab/")
        with tenant_scope(self.tenant.id):
            version = DatasetVersion.objects.get(dataset_id=order["dataset"])
        self.entered = {
            "name": "sweep",
            "project": str(factories.default_project_id(self.tenant)),
            "recipe": order["recipe"],
            "dataset": str(version.id),
            "p-target": "t",
            "device_class": "cpu",
            "max_minutes": "60",
            "key": str(uuid7()),
        }

    def send(self, path: str = NEW, **changes: Any) -> Any:
        return self.client.post(path, {**self.entered, **changes})

    def panel(self, **changes: Any) -> str:
        return text_of(self.send(f"{NEW}quote/", **changes))

    def launched(self) -> list[dict[str, Any]]:
        with tenant_scope(self.tenant.id):
            return [job.spec["params"] for job in Job.objects.filter(set__name="sweep").order_by("set_index")]


@pytest.fixture
def form() -> Form:
    return Form()


TWO_BY_THREE = {
    "v-name1": "learning_rate", "v-values1": "0.1, 0.01",
    "v-name2": "layers", "v-values2": "1,2 , 3,",
}  # fmt: skip


def worst_of(form: Form, **changes: Any) -> Decimal:
    """Return what one job of the form may cost, by the API's quote."""
    body = {"name": "x", "recipe": form.entered["recipe"], "dataset_version": form.entered["dataset"], "target": "t",
            "device_class": "cpu", "max_seconds": 3600, **changes}  # fmt: skip
    quote = form.client.post("/api/v1/quotes/", body, content_type="application/json")
    return Decimal(quote.json()["worst"]["amount"])


def test_the_panel_says_how_many_jobs_and_what_they_cost_at_most(form: Form) -> None:
    panel = form.panel(**TWO_BY_THREE)
    assert "6 jobs" in panel
    assert f"{worst_of(form) * 6:.2f}" in panel, panel
    assert "100" in form.panel(**{"v-name1": "seed", "v-values1": ",".join(map(str, range(101)))}), "too many"
    assert "100 jobs" in form.panel(**{"v-name1": "seed", "v-values1": ",".join(map(str, range(100)))})


def test_without_a_time_limit_each_job_counts_with_its_own(form: Form) -> None:
    form.entered["max_minutes"] = ""
    parts = [worst_of(form, max_seconds=None, params={"epochs": epochs, "patience": 200}) for epochs in (5, 200)]
    panel = form.panel(**{"v-name1": "epochs", "v-values1": "5, 200", "p-patience": "200"})
    assert f"{sum(parts):.2f}" in panel, (parts, panel)


def test_an_array_is_launched_once_with_its_cap(form: Form) -> None:
    cap = worst_of(form) * 6
    answers = [form.send(**TWO_BY_THREE, **{"v-cap": f"{cap:.6f}", "v-most_at_once": "2"}) for _ in range(2)]
    with tenant_scope(form.tenant.id):
        made = JobSet.objects.get(name="sweep")
    assert [answer["Location"] for answer in answers] == [f"/t/lab/job-sets/{made.id}/"] * 2
    assert (made.cap, made.most_at_once) == (cap, 2)
    assert [(one["learning_rate"], one["layers"]) for one in form.launched()] == [
        (rate, layers) for rate in (0.1, 0.01) for layers in (1, 2, 3)
    ]


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ({"v-values1": "0.1"}, "Choose the parameter that takes these values."),
        ({"v-name1": "layers"}, "Give the values, separated by commas."),
        ({"v-name1": "layers", "v-values1": " , "}, "Give the values, separated by commas."),
        ({"v-name1": "layers", "v-values1": "1, many"}, "many: Enter a whole number."),
        ({"v-name1": "layers", "v-values1": "1, 99"}, "99: Ensure this value is less than or equal to 6."),
        ({"v-name1": "layers", "v-values1": "1, 1"}, "Give each value once."),
        ({"v-name1": "balance_classes", "v-values1": "true, maybe"}, "maybe: Use true or false."),
        ({"v-name1": "layers", "v-values1": "1", "v-name2": "layers", "v-values2": "2"}, "Another row has this parameter."),
        ({"v-name1": "exclude_columns", "v-values1": "a"}, "Select a valid choice."),
        ({"v-cap": "5"}, "This holds for several jobs"),
        ({"v-most_at_once": "2"}, "This holds for several jobs"),
        ({**TWO_BY_THREE, "v-most_at_once": "0"}, "greater than or equal to 1"),
        ({"v-name1": "seed", "v-values1": ",".join(map(str, range(101)))}, "That is 101 jobs."),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_grid_is_said_and_nothing_is_launched(form: Form, grid: dict[str, str], said: str) -> None:
    answer = form.send(**grid)
    assert answer.status_code == 422
    assert said in text_of(answer)
    assert said in form.panel(**grid)
    assert not form.launched()
    assert all(value in answer.content.decode() for name, value in grid.items() if "values" in name), (
        "the input is kept"
    )


def test_a_cap_or_a_budget_that_does_not_pay_for_all_launches_none(form: Form) -> None:
    low = {**TWO_BY_THREE, "v-cap": f"{worst_of(form) * 5:.6f}"}
    assert "The cap does not pay for all jobs" in form.panel(**low)
    refused = form.send(**low)
    assert refused.status_code == 402
    assert "may spend" in text_of(refused)
    budgets.create_budget(
        actor=factories.actor_for(form.tenant),
        project_id=factories.default_project_id(form.tenant),
        amount=worst_of(form) * 4,
        at_limit="block_new",
    )
    assert "The budget does not pay for all jobs." in form.panel(**TWO_BY_THREE)
    refused = form.send(**TWO_BY_THREE)
    assert refused.status_code == 402
    said = text_of(refused).partition("The 6 jobs may cost up to")[2].partition("together.")[0]
    assert f"{worst_of(form) * 6:.2f}" in said
    assert "Keep it and request more" not in text_of(refused)
    assert not form.launched()


def test_a_preset_keeps_no_values_to_try(form: Form) -> None:
    refused = form.send(**TWO_BY_THREE, save_preset="1")
    assert refused.status_code == 422
    assert "A preset keeps one value of each parameter." in text_of(refused)
    with tenant_scope(form.tenant.id):
        assert Preset.objects.filter(name="sweep").count() == 0


def test_the_values_stay_when_another_recipe_is_chosen(form: Form) -> None:
    asked = {**TWO_BY_THREE, "recipe": "tabular.regressor", "dataset": form.entered["dataset"]}
    shown = form.client.get(f"{NEW}parameters/", asked).content.decode()
    assert 'value="0.1, 0.01"' in shown
    assert '<option value="learning_rate" selected>' in shown


def test_an_array_is_priced_with_what_its_kind_asks_for_each_job_and_no_more(
    form: Form, django_assert_max_num_queries: Any
) -> None:
    """Prices, budgets and past runs are read once; only the checks of the specification are by job, six statements."""
    with django_assert_max_num_queries(6 * 100 + 50):
        assert "100 jobs" in form.panel(**{"v-name1": "epochs", "v-values1": ",".join(map(str, range(5, 105)))})
