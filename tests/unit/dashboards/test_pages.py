"""The pure parts of the pages: exports, ranges, charts, words, stages."""

import csv
import io
import xml.etree.ElementTree as ET
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from billing.money import Money
from compute.queries import MetricPoint
from compute.views.progress import loss_series, other_metrics, single_values
from dashboards import ranges, svg
from dashboards.formatting import (
    duration_text,
    figure,
    limit_tone,
    money_column,
    money_parts,
    number,
    percent_text,
    shares,
    worded,
)
from dashboards.health import charts as health_charts
from dashboards.spend import charts
from dashboards.spend.tables import quantity, share_bar
from dashboards.templatetags import ui
from dashboards.templatetags.charts import block_legend
from dashboards.templatetags.recipes import titled
from models_app.forms.schema_fields import field_for
from models_app.recipes.base import recipes
from tenants.currencies import CURRENCIES, SYMBOLS, exact_text, money_text
from tenants.web.pagination import FORMULA, csv_response

TEXTS = st.text(max_size=40) | st.builds(lambda sign, rest: sign + rest, st.sampled_from(FORMULA), st.text(max_size=20))
NUMBERS = st.integers(-(10**12), 10**12) | st.decimals(-(10**9), 10**9, allow_nan=False, places=6)


@given(st.lists(st.tuples(TEXTS, NUMBERS), max_size=8))
def test_p4_an_export_holds_no_formula_and_numbers_stay_numbers(rows: list[tuple[str, Decimal | int]]) -> None:
    body = csv_response(RequestFactory().get("/"), "x", ("text", "number"), rows).content.decode()
    parsed = list(csv.reader(io.StringIO(body, newline="")))[1:]
    assert len(parsed) == len(rows)
    for (text, value), (shown, counted) in zip(rows, parsed, strict=True):
        assert not shown.startswith(FORMULA)
        assert shown in (text, f"'{text}")
        assert Decimal(counted) == value


@pytest.mark.parametrize(
    ("values", "first", "end"),
    [
        ({}, date(2026, 3, 1), date(2026, 3, 16)),
        ({"range": "7d"}, date(2026, 3, 9), date(2026, 3, 16)),
        ({"range": "30d"}, date(2026, 2, 14), date(2026, 3, 16)),
        ({"range": "last-month"}, date(2026, 2, 1), date(2026, 3, 1)),
        ({"range": "custom", "from": "2026-01-05", "to": "2026-01-05"}, date(2026, 1, 5), date(2026, 1, 6)),
        ({"range": "custom", "from": "2026-01-05", "to": "2025-01-05"}, date(2026, 3, 1), date(2026, 3, 16)),
        ({"range": "custom", "from": "1999-01-05", "to": "2026-01-05"}, date(2026, 3, 1), date(2026, 3, 16)),
        ({"range": "custom", "from": "x", "to": "9999-12-31"}, date(2026, 3, 1), date(2026, 3, 16)),
        ({"range": "custom", "from": "9500-01-01", "to": "9500-01-02"}, date(2026, 3, 1), date(2026, 3, 16)),
        ({"range": "' OR 1=1"}, date(2026, 3, 1), date(2026, 3, 16)),
    ],
)
def test_a_range_is_half_open_and_what_is_not_one_is_the_month(values: dict[str, str], first: date, end: date) -> None:
    found = ranges.parse(values, date(2026, 3, 15))
    assert (found.first, found.end) == (first, end)
    assert len(found.days) == (end - first).days


@given(st.lists(st.tuples(st.floats(0, 1e4), st.floats(-1e6, 1e6)), max_size=900), st.text("<>&'\"ab", max_size=20))
def test_a_line_chart_is_well_formed_and_thin(points: list[tuple[float, float]], name: str) -> None:
    drawn = svg.line_chart({name: points}, title=name)
    if not points:
        assert drawn == ""
        return
    root = ET.fromstring(drawn)  # noqa: S314  our own markup
    lines = [one.attrib["points"].split() for one in root if one.tag == "polyline"]
    assert all(len(line) <= svg.MAX_POINTS for line in lines)


def test_after_one_epoch_the_figures_of_the_test_are_no_second_epoch() -> None:
    values = [{"train_loss": 0.7, "val_accuracy": 0.8}, {"test_log_loss": 0.6, "test_accuracy": 0.75}]
    points = [MetricPoint(step, datetime(2026, 1, 1, tzinfo=UTC), 1, one) for step, one in enumerate(values, start=1)]
    assert loss_series(points) == {"train_loss": [(1.0, 0.7)]}
    assert other_metrics(points) == {"val_accuracy": [(1.0, 0.8)]}
    assert single_values(points) == {"test_log_loss": 0.6, "test_accuracy": 0.75}


@pytest.mark.parametrize(
    ("value", "ends"), [(0.93, ["0", "1"]), (1.0, ["0", "1"]), (0.0, ["0", "1"]), (-0.4, ["-0.4", "0"])]
)
def test_a_single_value_is_drawn_from_zero_and_a_share_ends_at_one(value: float, ends: list[str]) -> None:
    drawn = ET.fromstring(svg.line_chart({"accuracy": [(1.0, value)]}, title="x"))  # noqa: S314  our own markup
    marks = [one.text for one in drawn.iter("text") if one.attrib.get("text-anchor") == "end"]
    assert [marks[0], marks[-1]] == ends


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_ticks_cover_what_they_measure(one: float, other: float) -> None:
    low, high = sorted((one, other))
    marks = svg.ticks(low, high)
    slack = (high - low) * 1e-6 + 1e-9
    assert marks[0] <= low + slack
    assert marks[-1] >= high - slack
    assert 2 <= len(marks) <= 12


def test_a_histogram_escapes_its_labels() -> None:
    assert "<script>" not in svg.bar_chart([("<script>", 2.0), ("b", 1.0)], title="<x>")


def test_a_name_in_a_chart_is_escaped() -> None:
    name = '<a href="https://evil.example">a & b</a>'
    shown = '&lt;a href="https://evil.example"&gt;a &amp; b&lt;/a&gt;'
    cost = charts.daily_spend(
        [date(2026, 1, 1)], {name: [Decimal(1)]}, currency="EUR", budget_per_day=None, theme="dark"
    )
    assert [trace["name"] for trace in cost["data"]] == [shown]
    drawn = health_charts.drift([(name, 0.3)], theme="light")
    assert list(drawn["data"][0]["customdata"]) == [shown]


def test_a_figure_holds_at_most_a_thousand_points_and_is_plain() -> None:
    days = [date(2020, 1, 1) + timedelta(days=n) for n in range(1500)]
    drawn = charts.daily_spend(
        days, {"a": [Decimal(1)] * 1500}, currency="EUR", budget_per_day=Decimal(2), theme="dark"
    )
    assert all(len(trace["x"]) == len(trace["y"]) == charts.MOST_POINTS for trace in drawn["data"])
    hours = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=n) for n in range(1200)]
    used = charts.utilisation(hours, [60.0] * 1200, [30.0] * 1200, theme="light")
    assert all(len(trace["x"]) == charts.MOST_POINTS for trace in used["data"])


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [("12.34", "EUR", "€12.34"), ("0.05", "EUR", "€0.05"), ("0.0516", "EUR", "€0.0516"), ("0.00005", "EUR", "€0.000050"), ("-1234.5", "USD", "\u2212$1,234.50"), ("5", "JPY", "¥5"), ("0", "EUR", "€0.00"), ("1.005", "EUR", "€1.00"), ("3", "SEK", "SEK\u00a03.00")],
)  # fmt: skip
def test_a_small_cost_is_never_shown_as_nothing(amount: str, currency: str, text: str) -> None:
    assert money_text(Decimal(amount), currency) == text
    assert (
        money_parts(Money(Decimal(amount), currency))
        == money_parts({"amount": amount, "currency": currency})
        == (Decimal(amount), currency)
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (4.25, "4.2 s"), (65, "1 min 05 s"), (3720, "1 h 02 min"), (200_000, "2 d 7 h")]
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration_text(seconds).replace("\u00a0", " ") == text


def test_a_share_that_rounds_to_none_reads_as_less_than_one() -> None:
    assert share_bar(0, "x", some=True).children[1].children == "< 1\u00a0%"
    assert share_bar(0, "x").children[1].children == "0\u00a0%"
    assert share_bar(1, "x", some=True).children[1].children == "1\u00a0%"


def test_a_percentage_beyond_999_says_only_that_it_is_more() -> None:
    assert [percent_text(value) for value in (0, 75, 999, 1000, 15_004_361_441)] == [
        "0\u00a0%", "75\u00a0%", "999\u00a0%", "> 999\u00a0%", "> 999\u00a0%"
    ]  # fmt: skip
    bar, said = share_bar(150_043, "a budget", limit_tone(150_043)).children
    assert (bar.value, bar.className, said.children) == ("100", "x-bar bad", "> 999\u00a0%")


@given(st.lists(st.decimals(0, 10**9, allow_nan=False, places=6), max_size=40), st.booleans())
def test_shares_are_whole_and_add_up(amounts: list[Decimal], all_of_it: bool) -> None:
    whole = sum(amounts, Decimal(0))
    total = whole if all_of_it else 2 * whole
    found = shares(amounts, total)
    assert len(found) == len(amounts)
    if whole > 0:
        assert sum(found) == (100 if all_of_it else 50)
        assert all(abs(share - amount * 100 / total) < 1 for share, amount in zip(found, amounts, strict=True))
    else:
        assert not any(found)


def test_a_share_of_a_limit_has_one_colour_on_every_page() -> None:
    for percent, tone in ((74, ""), (75, "wait"), (89, "wait"), (90, "bad"), (250, "bad")):
        on_spend = share_bar(percent, "x", limit_tone(percent)).children[0].className.split()
        elsewhere = str(ui.bar(percent / 100, "x", "limit")).split('class="')[1].split('"')[0].split()
        assert on_spend == elsewhere == ["x-bar", *([tone] if tone else [])]


def test_a_budget_far_above_the_bars_is_stated_and_not_drawn() -> None:
    days, series = [date(2026, 3, 1)], {"a": [Decimal(3)], "b": [Decimal(2)]}
    for allowed, lines in ((Decimal(10), 1), (Decimal("10.01"), 0)):
        drawn = charts.daily_spend(days, series, currency="EUR", budget_per_day=allowed, theme="dark")
        assert sum(trace["type"] == "scatter" for trace in drawn["data"]) == lines


def test_an_invalid_range_of_days_is_reported() -> None:
    for values in ({"from": "2026-03-09", "to": "2026-03-01"}, {"from": "2026-03-09"}, {"from": "x", "to": "y"}):
        assert "Choose a first and a last day" in ranges.parse({"range": "custom", **values}, date(2026, 3, 15)).problem
    assert ranges.parse({"range": "custom", "from": "2026-03-01", "to": "2026-03-09"}, date(2026, 3, 15)).problem == ""


def test_codes_are_worded_and_short_names_keep_their_capitals() -> None:
    codes = ("test_roc_auc", "r2", "test_mae", "rmse", "cpu", "time_limit", "billing.quote", None)
    assert [worded(code) for code in codes] == [
        "Test ROC AUC", "R²", "Test MAE", "RMSE", "CPU", "Time limit", "Billing \u203a quote", "",
    ]  # fmt: skip
    tables = ("apikey", "datasetversion", "modelversion")
    assert [worded(table) for table in tables] == ["API key", "Dataset version", "Model version"]


def test_no_bound_of_a_parameter_is_written_in_powers_of_ten() -> None:
    hints = [
        field_for(name, schema).help_text for one in recipes() for name, schema in one.schema()["properties"].items()
    ]
    assert any("From 0.000001 to 1." in hint for hint in hints)
    assert not any("e-0" in hint or "e+0" in hint for hint in hints)


def test_figures_and_numbers_are_formatted() -> None:
    assert (figure(0.97204), figure(3), figure(True), figure("a"), figure(None)) == (
        "0.9720",
        "3",
        "True",
        "a",
        "\u2013",
    )
    assert (number(1234.5, 2), number(None), number(10)) == ("1,234.5", "\u2013", "10")


def test_losses_and_other_metrics_are_separated_and_non_numbers_left_out() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    points = [
        MetricPoint(n, at, 1, {"val_loss": 0.5, "train_loss": 0.4, "accuracy": 0.9 if n else float("nan")})
        for n in range(3)
    ]
    assert list(loss_series(points)) == ["train_loss", "val_loss"]
    assert other_metrics(points) == {"accuracy": [(1.0, 0.9), (2.0, 0.9)]}


@pytest.mark.parametrize("recipe", recipes(), ids=lambda recipe: recipe.id)
def test_every_parameter_of_every_recipe_has_a_typed_field_whose_default_is_accepted(recipe: object) -> None:
    entered = {}
    for name, schema in recipe.schema()["properties"].items():  # type: ignore[attr-defined]
        field = field_for(name, schema)
        entered[name] = field.clean(
            field.prepare_value(schema.get("default")) if hasattr(field, "prepare_value") else schema.get("default")
        )
    assert recipe.parse(entered) == recipe.parse({})  # type: ignore[attr-defined]


@pytest.mark.parametrize("number", [1, 2, 30, 200, 1000])
def test_an_axis_of_hours_is_padded_and_marked_by_whole_hours(number: int) -> None:
    hours = [datetime(2026, 11, 21, 23, tzinfo=UTC) + timedelta(hours=n) for n in range(number)]
    drawn = charts.utilisation(hours, [60.0] * number, [30.0] * number, theme="light")
    axis = drawn["layout"]["xaxis"]
    low, high = map(datetime.fromisoformat, axis["range"])
    assert low < hours[0]
    assert high > hours[-1]
    assert high - low >= timedelta(hours=12)
    assert axis.get("dtick", charts.HOUR_MS) % charts.HOUR_MS == 0
    assert drawn["data"][0]["width"] == charts.HOUR_MS


def test_a_metric_with_one_value_is_not_drawn_as_a_line() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    points = [MetricPoint(n, at, 1, {"val_loss": 0.5, **({"test_accuracy": 0.9} if n == 3 else {})}) for n in range(4)]
    assert single_values(points) == {"test_accuracy": 0.9}
    assert other_metrics(points) == {}


def test_parameters_have_the_order_and_titles_of_their_schema() -> None:
    recipe = recipes()[0]
    schema = recipe.schema()["properties"]
    shown = titled({"of_old": 1, **dict(sorted(recipe.parse({}).items()))}, recipe.id)
    assert [name for name, _ in shown] == [*(one.get("title", name) for name, one in schema.items()), "Of old"]
    assert titled({"a_b": 1}, "no.recipe") == [("A b", 1)]
    assert ("Batch size", "automatic") in shown
    assert ("Batch size", 64) in titled(recipe.parse({"batch_size": 64}), recipe.id)


def test_an_address_breaks_after_its_parts_and_what_is_hostile_stays_text() -> None:
    assert "engineer@<wbr>riverside.<wbr>example</span>" in ui.person("engineer@riverside.example")
    assert "&lt;b&gt;@<wbr>x" in ui.person("<b>@x")
    assert "<wbr>" not in ui.person("nightly v1.2")


def test_money_beside_money_is_written_in_minor_units_unless_that_shows_nothing() -> None:
    texts = [money_text(Decimal(amount), "EUR", short=True) for amount in ("0.2599", "0.0031", "12.345", "0")]
    assert texts == ["€0.26", "€0.0031", "€12.34", "€0.00"]


def test_the_legend_names_the_dashed_line_where_there_is_one() -> None:
    assert "budget a day" in block_legend(["Vision"], 2.5)
    assert "budget a day" not in block_legend(["Vision"])


@pytest.mark.parametrize(("currency", "decimals"), sorted(CURRENCIES.items()))
def test_each_currency_is_written_with_the_decimals_of_its_minor_unit(currency: str, decimals: int) -> None:
    shown, sign = money_text(Decimal(1234), currency), SYMBOLS.get(currency, f"{currency}\u00a0")
    assert shown == exact_text(Decimal("1234.0000"), currency) == f"{sign}{1234:,.{decimals}f}"
    assert Money(Decimal("1.23456"), currency).plain() == f"{sign}{Decimal('1.23456'):.{decimals}f}"
    chart = charts.daily_spend(
        [date(2026, 1, 1)], {"a": [Decimal(1234)]}, currency=currency, budget_per_day=Decimal(1234), theme="dark"
    )
    assert [list(trace["customdata"]) for trace in chart["data"]] == [[shown], [shown]]


def test_amounts_in_one_column_have_the_same_decimals() -> None:
    coarse = [Decimal("26.2240"), Decimal("10.83"), Decimal(0)]
    assert money_column(coarse, "EUR") == ["€26.22", "€10.83", "€0.00"]
    assert money_column([*coarse, Decimal("0.7376")], "EUR") == ["€26.2240", "€10.8300", "€0.0000", "€0.7376"]
    assert money_column([Decimal("12.4"), Decimal("0.7376")], "JPY") == ["¥12.40", "¥0.74"]
    assert money_column([], "EUR") == []


@pytest.mark.parametrize(
    ("amount", "unit", "text", "exact"),
    [
        ("69203.49", "second", "19\u00a0h 13\u00a0min", "69,203.49\u00a0s"),
        ("8500", "millisecond", "8.5\u00a0s", "8,500\u00a0ms"),
    ],
)
def test_time_used_is_read_as_a_duration_and_kept_exact(amount: str, unit: str, text: str, exact: str) -> None:
    shown = quantity(Decimal(amount), unit)
    assert (shown.children, shown.title) == (text, exact)


def test_what_is_no_time_is_counted() -> None:
    assert quantity(Decimal(8876), "request") == "8,876\u00a0requests"
    assert quantity(None, "") == "\u2013"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.3, "0.3"),
        (0.001, "0.001"),
        (0.000001, "0.000001"),
        (1000, "1,000"),
        (2.0, "2"),
        (True, "yes"),
        ([], "\u2013"),
    ],
)
def test_a_parameter_is_shown_as_it_was_chosen(value: object, said: str) -> None:
    assert ui.spoken(value) == said


def test_a_time_of_another_year_has_its_year() -> None:
    now = datetime.now(UTC)
    assert f">{now.day} {now:%b %H:%M}<" in ui.when(now)
    assert ">28 Feb 2031 08:44<" in ui.when(datetime(2031, 2, 28, 8, 44, tzinfo=UTC))
