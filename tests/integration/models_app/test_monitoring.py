"""Traffic in windows, alerts that open once and resolve, feedback that counts once, and who is notified."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from django.conf import settings as configured
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config.mail import mail_settings
from dashboards.overview import overview
from models_app.endpoints import slot_events
from models_app.measures import bins, prediction_id
from models_app.measures.window import Sums, Window
from models_app.models import Endpoint, EndpointKey, Feedback, HealthAlert, HealthWindow, ServingSlice
from models_app.monitoring import alerts, feedback, health, recent_windows, retention, windows
from models_app.registry import registry
from tenants.access.actor import Actor
from tenants.clock import now
from tenants.errors import Invalid, NotFound, PermissionDenied
from tenants.events import outbox
from tenants.ids import uuid7
from tenants.isolation.scoping import tenant_scope
from tenants.models import Notification, OutboxMessage
from tests.support.factories import actor_for, make_member, make_tenant
from tests.support.model_versions import make_endpoint, make_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def engineer() -> Actor:
    return actor_for(make_tenant(), "engineer")


@pytest.fixture
def endpoint(engineer: Actor) -> Endpoint:
    return make_endpoint(make_version(engineer), "churn")


def quiet_rows(count: int, seed: int = 3) -> list[dict[str, Any]]:
    """Return rows like those of `plain_baseline`."""
    chance = np.random.default_rng(seed)
    return [
        {
            "age": float(chance.normal(40, 10)),
            "plan": str(chance.choice(["basic", "pro", "team"], p=[0.6, 0.3, 0.1])),
            "joined": float(chance.uniform(1.6e9, 1.7e9)),
            "active": bool(chance.random() < 0.8),
        }
        for _ in range(count)
    ]


def serve(
    endpoint: Endpoint, rows: list[dict[str, Any]], *, at_once: int = 50, share: float = 0.3, **more: Any
) -> None:
    """Count rows as single requests, and flush as a node does."""
    window = Window()
    window.track(endpoint.version_id, endpoint.version.baseline)
    for number, batch in enumerate(
        itertools.batched(rows, at_once) if hasattr(itertools, "batched") else _batched(rows, at_once)
    ):
        for place, row in enumerate(batch):
            label = "leaves" if ((number * at_once + place) * 0.618034) % 1 < share else "stays"
            window.add(
                endpoint.version_id, columns={name: [value] for name, value in row.items()}, outputs=[label],
                **({"latency_ms": [4.0], "compute_ms": 2.0} | more),
            )  # fmt: skip
        windows.flush(endpoint.tenant_id, endpoint.id, window)


def _batched(rows: list[Any], size: int) -> Iterator[list[Any]]:
    for at in range(0, len(rows), size):
        yield rows[at : at + size]


def replace_role(actor: Actor, role: str) -> Actor:
    """Return a member of the same organisation with another role."""
    return Actor.member(tenant_id=actor.tenant_id, user_id=uuid7(), email=f"{role}@else.example", role=role)


def open_alerts(endpoint: Endpoint) -> list[tuple[str, str]]:
    with tenant_scope(endpoint.tenant_id):
        rows = HealthAlert.objects.filter(endpoint=endpoint, resolved_at=None).order_by("kind", "subject")
        return list(rows.values_list("kind", "subject"))


def deliver_all(as_control: Any, endpoint: Endpoint) -> None:
    """Deliver the outbox, including the events that deliveries publish."""
    for _ in range(3):
        with tenant_scope(endpoint.tenant_id):
            waiting = list(OutboxMessage.objects.filter(delivered_at=None).order_by("id").values_list("id", flat=True))
        for message in waiting:
            with as_control():
                outbox.deliver(message, endpoint.tenant_id)


def predictions(
    endpoint: Endpoint, count: int, outcome: int = 0, age: timedelta = timedelta(), *, secret: str = ""
) -> list[str]:
    key = prediction_id.derive_key(secret or configured.EXCHEQUER.serving_key, endpoint.id)
    at = int((now() - age).timestamp() * 1000)
    return [
        prediction_id.sign(
            key, version_id=endpoint.version_id, at_ms=at, outcome=outcome, random=number.to_bytes(6, "big")
        )
        for number in range(count)
    ]


def labelled(actor: Actor, endpoint: Endpoint, items: list[Any]) -> feedback.Counts:
    with tenant_scope(actor.tenant_id):
        return feedback.record(actor=actor, endpoint_id=endpoint.id, items=items)


def test_what_was_flushed_adds_up_to_what_was_counted(endpoint: Endpoint) -> None:
    rows = quiet_rows(520)
    serve(endpoint, rows, at_once=90)
    with tenant_scope(endpoint.tenant_id):
        stored = list(HealthWindow.objects.filter(endpoint=endpoint).order_by("minute"))
        newest = recent_windows.last_rows(endpoint.id, endpoint.version_id)
    total = sum(map(recent_windows.sums_of, stored), Sums())
    assert (total.requests, total.rows, sum(total.latency), total.compute_ms) == (520, 520, 520, 1040.0)
    for name, feature in endpoint.version.baseline["features"].items():
        assert total.inputs[name] == bins.count(feature, [row[name] for row in rows])
    assert all(row.rows < windows.FULL + 90 for row in stored)
    assert 400 <= newest.rows <= 520


def test_what_cannot_be_stored_is_kept_for_the_next_flush(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    window = Window()
    window.add(endpoint.version_id, outputs=["stays"], latency_ms=[1])
    with monkeypatch.context() as broken:
        broken.setattr(alerts, "evaluate", lambda endpoint_id: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            windows.flush(endpoint.tenant_id, endpoint.id, window)
    with tenant_scope(endpoint.tenant_id):
        assert not HealthWindow.objects.exists()
    window.add(endpoint.version_id, outputs=["stays"], latency_ms=[1])
    windows.flush(endpoint.tenant_id, endpoint.id, window)
    with tenant_scope(endpoint.tenant_id):
        assert HealthWindow.objects.get().requests == 2


def test_a_shifted_number_and_a_swapped_category_are_flagged_alone(endpoint: Endpoint) -> None:
    serve(endpoint, quiet_rows(600))
    assert open_alerts(endpoint) == []
    swapped = {"basic": "team", "team": "basic", "pro": "pro"}
    moved = [{**row, "age": row["age"] + 10, "plan": swapped[row["plan"]]} for row in quiet_rows(500, seed=5)]
    serve(endpoint, moved)
    assert open_alerts(endpoint) == [("drift", "age"), ("drift", "plan")]


def test_drift_is_evaluated_without_a_query_per_input(endpoint: Endpoint) -> None:
    """A node flushes every few seconds: evaluation costs the same number of statements for any number of inputs."""

    def asked() -> int:
        with tenant_scope(endpoint.tenant_id), CaptureQueriesContext(connection) as seen:
            alerts.evaluate(endpoint.id)
        return len(seen)

    serve(endpoint, quiet_rows(400))
    quiet = asked()
    swapped = {"basic": "team", "team": "basic", "pro": "pro"}
    moved = [{**row, "age": row["age"] + 10, "plan": swapped[row["plan"]]} for row in quiet_rows(400, seed=5)]
    serve(endpoint, moved)
    assert open_alerts(endpoint) == [("drift", "age"), ("drift", "plan")]
    assert asked() == quiet <= 6


def test_predictions_that_moved_are_flagged(endpoint: Endpoint) -> None:
    serve(endpoint, quiet_rows(450), share=0.9)
    assert open_alerts(endpoint) == [("output", "")]


def test_an_alert_opens_once_notifies_once_and_resolves(
    endpoint: Endpoint, engineer: Actor, as_control: Any, settings: Any, tmp_path: Path
) -> None:
    for name, value in mail_settings("", tmp_path).items():
        setattr(settings, name, value)
    with tenant_scope(engineer.tenant_id):
        tenant = endpoint.tenant
    make_member(tenant, "viewer")
    serve(endpoint, [{**row, "age": row["age"] + 15} for row in quiet_rows(600)])
    assert open_alerts(endpoint) == [("drift", "age")]
    deliver_all(as_control, endpoint)
    with tenant_scope(engineer.tenant_id):
        notes = list(Notification.objects.filter(kind="health_alert").values_list("user__email", "title", "path"))
    assert len(notes) == 2, "owner and engineer, not the viewer"
    assert {row[1:] for row in notes} == {("Endpoint churn: input drift", f"endpoints/{endpoint.id}/")}
    letters = [file.read_text() for file in tmp_path.rglob("*.eml")]
    assert len(letters) == 2
    assert all("stability index" in letter.replace("=\n", "") for letter in letters)
    serve(endpoint, quiet_rows(700))
    assert open_alerts(endpoint) == []
    with tenant_scope(engineer.tenant_id):
        assert HealthAlert.objects.get().resolved_at is not None


def test_the_overview_says_what_models_ask_for_to_those_who_can_do_it(endpoint: Endpoint, engineer: Actor) -> None:
    admin, stranger = replace_role(engineer, "admin"), actor_for(make_tenant())

    def said(actor: Actor) -> list[str]:
        with tenant_scope(actor.tenant_id):
            return [notice.text for notice in overview(actor).notices]

    assert said(admin) == []
    serve(endpoint, [{**row, "age": row["age"] + 15} for row in quiet_rows(600)])
    other = make_version(engineer, "later", stage="registered")
    registry.promote(actor=engineer, version_id=other.id, stage="production")
    assert said(admin) == ["1 model version waits for approval.", "1 alert is open at endpoint churn."]
    assert said(engineer) == ["1 alert is open at endpoint churn."]
    assert said(stranger) == []


def test_slow_responses_and_errors_raise_separate_alerts(endpoint: Endpoint) -> None:
    window = Window()
    window.add(endpoint.version_id, latency_ms=[3_000.0] * 90 + [10.0] * 90, errors={"internal_error": 20})
    windows.flush(endpoint.tenant_id, endpoint.id, window)
    assert open_alerts(endpoint) == [("errors", ""), ("latency", "")]


def test_requests_that_were_wrong_are_not_our_errors_and_limits_are_nobodys(endpoint: Endpoint) -> None:
    window = Window()
    window.add(endpoint.version_id, latency_ms=[3.0] * 180, errors={"rate_limited": 500, "budget_exceeded": 50})
    windows.flush(endpoint.tenant_id, endpoint.id, window)
    assert open_alerts(endpoint) == []
    window.add(endpoint.version_id, errors={"bad_instance": 20})
    windows.flush(endpoint.tenant_id, endpoint.id, window)
    assert open_alerts(endpoint) == [("errors", "input")]


def test_alerts_end_when_the_minutes_are_good_again(endpoint: Endpoint, demo_clock: Any) -> None:
    window = Window()
    window.add(endpoint.version_id, latency_ms=[3_000.0] * 200)
    windows.flush(endpoint.tenant_id, endpoint.id, window)
    assert open_alerts(endpoint) == [("latency", "")]
    demo_clock.advance(timedelta(minutes=10))
    window.add(endpoint.version_id, latency_ms=[3.0] * 20)
    windows.flush(endpoint.tenant_id, endpoint.id, window)
    assert open_alerts(endpoint) == [("latency", "")], "twenty requests are too few to tell"
    window.add(endpoint.version_id, latency_ms=[3.0] * 200)
    windows.flush(endpoint.tenant_id, endpoint.id, window)
    assert open_alerts(endpoint) == []


def test_a_new_version_starts_without_the_alerts_of_the_old(
    endpoint: Endpoint, engineer: Actor, as_control: Any
) -> None:
    from models_app.events import EndpointDeployed, EndpointUndeployed
    from tenants.events.events import publish

    serve(endpoint, [{**row, "age": row["age"] + 15} for row in quiet_rows(400)])
    assert open_alerts(endpoint)
    newer = make_version(engineer)
    with tenant_scope(engineer.tenant_id):
        publish(
            EndpointDeployed(tenant_id=engineer.tenant_id, endpoint_id=endpoint.id, version_id=newer.id, generation=2)
        )
    deliver_all(as_control, endpoint)
    assert open_alerts(endpoint) == []
    serve(endpoint, [{**row, "age": row["age"] + 15} for row in quiet_rows(400)])
    assert open_alerts(endpoint)
    with tenant_scope(engineer.tenant_id):
        publish(EndpointUndeployed(tenant_id=engineer.tenant_id, endpoint_id=endpoint.id))
    deliver_all(as_control, endpoint)
    assert open_alerts(endpoint) == []


def test_notifications_about_a_restricted_dataset_reach_only_those_who_see_it(engineer: Actor, as_control: Any) -> None:
    endpoint = make_endpoint(make_version(engineer, restricted=True))
    serve(endpoint, [{**row, "age": row["age"] + 15} for row in quiet_rows(400)])
    deliver_all(as_control, endpoint)
    with tenant_scope(engineer.tenant_id):
        notes = list(Notification.objects.filter(kind="health_alert").values_list("user_id", flat=True))
        slot = Endpoint.objects.filter(id=endpoint.id)
        slot.update(allocation_id=(allocation := uuid7()))
        system = Actor.system(engineer.tenant_id, "controller")
        slot_events.stopped(actor=system, subject=endpoint.subject, allocation_id=allocation)
        stopped = list(Notification.objects.filter(kind="endpoint_stopped").values_list("user_id", flat=True))
    assert len(notes) == 1
    assert engineer.id not in notes
    assert stopped == notes, "that its budget is used up too"


def test_a_label_counts_once_for_ever(endpoint: Endpoint, engineer: Actor) -> None:
    (one,) = predictions(endpoint, 1)
    first = labelled(engineer, endpoint, [{"prediction_id": one, "label": "stays"}] * 3)
    assert (first.accepted, first.known, first.errors) == (1, 2, [])
    again = labelled(engineer, endpoint, [{"prediction_id": one, "label": "stays"}])
    assert (again.accepted, again.known) == (0, 1)
    other = labelled(engineer, endpoint, [{"prediction_id": one, "label": "leaves"}])
    assert (other.accepted, other.known, [error["code"] for error in other.errors]) == (0, 0, ["label_conflict"])
    with tenant_scope(engineer.tenant_id):
        row = Feedback.objects.get()
        assert (row.predicted, row.label, row.correct) == ("stays", "stays", True)


def test_each_bad_item_is_reported_and_the_good_ones_are_stored(endpoint: Endpoint, engineer: Actor) -> None:
    good, spare = predictions(endpoint, 2)
    elsewhere = make_endpoint(endpoint.version)
    gone = Endpoint(id=endpoint.id, version_id=uuid7())
    items: list[Any] = [
        {"prediction_id": good, "label": "leaves"},
        {"prediction_id": good[:-1] + ("A" if good[-1] != "A" else "B"), "label": "stays"},
        {"prediction_id": predictions(elsewhere, 1)[0], "label": "stays"},
        {"prediction_id": predictions(endpoint, 1, age=timedelta(days=91))[0], "label": "stays"},
        {"prediction_id": spare, "label": "perhaps"},
        {"prediction_id": spare},
        {"prediction_id": spare, "label": "stays", "weight": 2},
        "stays",
        {"prediction_id": 7, "label": "stays"},
        {"prediction_id": predictions(gone, 1)[0], "label": "stays"},
        {"prediction_id": predictions(endpoint, 3, outcome=9)[2], "label": "stays"},
        {"prediction_id": spare, "label": "a\0b"},
    ]
    found = labelled(engineer, endpoint, items)
    assert (found.accepted, found.known) == (1, 0)
    assert [(error["index"], error["code"]) for error in found.errors] == [
        (1, "unknown_prediction"), (2, "unknown_prediction"), (3, "too_old"), (4, "unknown_label"), (5, "invalid"),
        (6, "invalid"), (7, "invalid"), (8, "invalid"), (9, "unknown_prediction"), (10, "unknown_prediction"),
        (11, "invalid"),
    ]  # fmt: skip
    assert "stays, leaves" in found.errors[3]["message"]


def test_ids_signed_before_serving_nodes_had_a_key_of_their_own_count(endpoint: Endpoint, engineer: Actor) -> None:
    (old,), (forged,) = (predictions(endpoint, 1, secret=key) for key in (configured.SECRET_KEY, "guessed"))
    found = labelled(engineer, endpoint, [{"prediction_id": one, "label": "stays"} for one in (old, forged)])
    assert (found.accepted, [error["code"] for error in found.errors]) == (1, ["unknown_prediction"])


def test_labels_of_numbers_are_finite_numbers(engineer: Actor) -> None:
    version = make_version(
        engineer, recipe="tabular.regressor", metrics={"rmse": 2.0, "r2": 0.5}, signature={"classes": []}
    )
    endpoint = make_endpoint(version)
    ids = predictions(endpoint, 6, outcome=10.0)  # type: ignore[arg-type]
    labels = [12.5, "11", "many", True, "inf", 1e300]
    found = labelled(
        engineer, endpoint, [{"prediction_id": one, "label": label} for one, label in zip(ids, labels, strict=True)]
    )
    assert found.accepted == 2
    assert [error["code"] for error in found.errors] == ["unknown_label"] * 4
    with tenant_scope(engineer.tenant_id):
        assert sorted(Feedback.objects.values_list("error", flat=True)) == [-2.5, -1.0]


@pytest.mark.parametrize("label", [-1e70, 3e76, 1e100, 1e153])
def test_an_extreme_label_is_refused_and_a_stored_one_spoils_nothing(engineer: Actor, label: float) -> None:
    version = make_version(engineer, metrics={"rmse": 2.0}, signature={"classes": []}, baseline={})
    endpoint = make_endpoint(version)
    far, *ids = predictions(endpoint, 60, outcome=1.0)  # type: ignore[arg-type]
    found = labelled(engineer, endpoint, [{"prediction_id": far, "label": label}])
    assert [(error["code"], error["index"]) for error in found.errors] == [("unknown_label", 0)]
    assert "too far" in found.errors[0]["message"]
    with tenant_scope(engineer.tenant_id):  # as stored before such labels were refused
        stored = Feedback(
            endpoint=endpoint, version=version, prediction=b"far", label=f"{label:.12g}", error=1 - label,
            predicted_at=now(),
        )  # fmt: skip
        stored.claim_tenant()
        stored.save()
    found = labelled(engineer, endpoint, [{"prediction_id": one, "label": 1.5} for one in ids])
    assert (found.accepted, found.errors) == (59, [])
    window = Window()
    window.add(endpoint.version_id, outputs=[1.0], latency_ms=[3.0])
    windows.flush(endpoint.tenant_id, endpoint.id, window)
    with tenant_scope(engineer.tenant_id):
        assert HealthWindow.objects.get().requests == 1
        assert health.health(engineer, endpoint.id).labels.count == 60


def test_labels_that_disagree_raise_an_alert_and_labels_that_agree_end_it(endpoint: Endpoint, engineer: Actor) -> None:
    ids = predictions(endpoint, 700)
    wrong = [{"prediction_id": one, "label": "leaves" if at % 3 else "stays"} for at, one in enumerate(ids[:60])]
    labelled(engineer, endpoint, wrong)
    assert open_alerts(endpoint) == [("accuracy", "")]
    labelled(engineer, endpoint, [{"prediction_id": one, "label": "stays"} for one in ids[60:]])
    assert open_alerts(endpoint) == []


def test_a_regressor_that_errs_more_than_it_did_raises_an_alert(engineer: Actor) -> None:
    version = make_version(engineer, metrics={"rmse": 2.0, "r2": 0.5}, signature={"classes": []})
    endpoint = make_endpoint(version)
    chance = np.random.default_rng(4)
    ids = predictions(endpoint, 300, outcome=10.0)  # type: ignore[arg-type]
    fair = [{"prediction_id": one, "label": 10 + float(chance.normal(0, 2))} for one in ids[:150]]
    labelled(engineer, endpoint, fair)
    assert open_alerts(endpoint) == []
    labelled(
        engineer, endpoint, [{"prediction_id": one, "label": 10 + float(chance.normal(3, 4))} for one in ids[150:]]
    )
    assert open_alerts(endpoint) == [("accuracy", "")]


def test_feedback_needs_the_permission_in_the_endpoints_tenant(endpoint: Endpoint, engineer: Actor) -> None:
    stranger = actor_for(make_tenant(), "owner")
    item = [{"prediction_id": predictions(endpoint, 1)[0], "label": "stays"}]
    with pytest.raises(NotFound):
        labelled(stranger, endpoint, item)
    with tenant_scope(engineer.tenant_id):
        tenant = endpoint.tenant
    viewer = actor_for(tenant, "viewer")
    with pytest.raises(PermissionDenied):
        labelled(viewer, endpoint, item)
    serve(endpoint, [{**row, "age": row["age"] + 15} for row in quiet_rows(400)])
    with tenant_scope(stranger.tenant_id):
        assert alerts.evaluate(endpoint.id) == 0
        assert not HealthWindow.objects.exists()
        assert not HealthAlert.objects.exists()
    for empty in ([], [item[0]] * 1_001):
        with pytest.raises(Invalid):
            labelled(engineer, endpoint, empty)


def test_old_minutes_become_hours_and_go_and_old_labels_go(endpoint: Endpoint, as_control: Any) -> None:
    hour = (now() - timedelta(days=3)).replace(minute=0, second=0, microsecond=0)
    fresh = now() - timedelta(hours=30)
    sums = Sums(2, 3, 1.5, {"busy": 1}, [1, 0, 2], {"age": [1, 2]}, [3, 4])

    def window(at: Any) -> None:
        HealthWindow.objects.create(endpoint_id=endpoint.id, version_id=endpoint.version_id, minute=at, **vars(sums))

    def label(at: Any) -> None:
        Feedback.objects.create(
            endpoint_id=endpoint.id, version_id=endpoint.version_id, prediction=uuid7().bytes, predicted="a",
            label="a", predicted_at=at, received_at=at,
        )  # fmt: skip

    with tenant_scope(endpoint.tenant_id):
        for at in (hour + timedelta(minutes=7), hour + timedelta(minutes=9, seconds=5), hour + timedelta(minutes=59)):
            window(at)
        window(hour + timedelta(hours=1))
        for at in (fresh, fresh + timedelta(seconds=1), now() - timedelta(days=91)):
            window(at)
        label(now() - timedelta(days=401))
        label(now() - timedelta(days=399))
    with as_control():
        assert retention.purge_everywhere() == {
            "windows": 3,
            "feedback": 1,
            "slices": 0,
            "alerts": 0,
            "keys": 0,
            "ticks": 0,
        }
        assert sum(retention.purge_everywhere().values()) == 0
    with tenant_scope(endpoint.tenant_id):
        kept = {row.minute: recent_windows.sums_of(row) for row in HealthWindow.objects.all()}
        assert kept == {
            hour: sums + sums + sums,
            hour + timedelta(hours=1): sums,
            fresh: sums,
            fresh + timedelta(seconds=1): sums,
        }
        assert Feedback.objects.count() == 1


def test_keys_slices_and_alerts_that_ended_long_ago_are_removed(
    endpoint: Endpoint, as_control: Callable[[], AbstractContextManager[None]]
) -> None:
    with tenant_scope(endpoint.tenant_id):
        for number, days in enumerate((401, 399, 0)):
            closed = now() - timedelta(days=days) if days else None
            ServingSlice.objects.create(endpoint=endpoint, boot=uuid4(), number=number, closed_at=closed)
        for number, days in enumerate((401, 399, 0)):
            HealthAlert.objects.create(
                endpoint=endpoint, version_id=endpoint.version_id, kind="drift", subject=str(number), value=1, threshold=0.5,
                message="m", resolved_at=now() - timedelta(days=days) if days else None,
            )  # fmt: skip
        for days in (91, 89):
            revoked = now() - timedelta(days=days)
            EndpointKey.objects.create(
                endpoint=endpoint, name=str(days), prefix="p", key_hash=bytes([days]), revoked_at=revoked
            )
    with as_control():
        gone = retention.purge_expired(endpoint.tenant_id)
    assert (gone["slices"], gone["alerts"], gone["keys"]) == (1, 1, 1)
    with tenant_scope(endpoint.tenant_id):
        assert list(EndpointKey.objects.values_list("name", flat=True)) == ["89"]
        assert ServingSlice.objects.count() == 2
        assert sorted(HealthAlert.objects.values_list("subject", flat=True)) == ["1", "2"]
