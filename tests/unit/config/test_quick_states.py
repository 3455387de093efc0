"""Indexes and constraints of migrations change in the rendered model, and nothing related is rendered again."""

from __future__ import annotations

from django.db import models
from django.db.migrations.state import ModelState, ProjectState

from config.management.quick_states import quick_states


def test_a_rendered_model_changes_without_rendering_what_is_related() -> None:
    state = ProjectState()
    state.add_model(ModelState("billing", "Ship", [("id", models.AutoField(primary_key=True))]))
    port = models.ForeignKey("billing.Ship", models.CASCADE)
    state.add_model(ModelState("billing", "Port", [("id", models.AutoField(primary_key=True)), ("ship", port)]))
    related = state.apps.get_model("billing", "Port")
    index = models.Index(fields=["id"], name="ship_by_id")
    rule = models.CheckConstraint(condition=models.Q(id__gt=0), name="ship_id_positive")
    with quick_states():
        state.add_index("billing", "ship", index)
        state.add_constraint("billing", "ship", rule)
        meta = state.apps.get_model("billing", "Ship")._meta
        assert (meta.indexes, meta.constraints) == ([index], [rule])
        assert (state.models["billing", "ship"].options["indexes"]) == [index]
        assert state.apps.get_model("billing", "Port") is related
        state.remove_index("billing", "ship", "ship_by_id")
        state.remove_constraint("billing", "ship", "ship_id_positive")
        assert (meta.indexes, meta.constraints) == ([], [])
        assert state.models["billing", "ship"].options["constraints"] == []
    state.add_constraint("billing", "ship", rule)
    assert state.apps.get_model("billing", "Port") is not related, "Django's own way again"
    assert state.apps.get_model("billing", "Ship")._meta.constraints == [rule]


def test_a_new_model_and_a_new_field_are_rendered_alone_and_whole_for_a_function() -> None:
    state = ProjectState()
    state.add_model(ModelState("billing", "Ship", [("id", models.AutoField(primary_key=True))]))
    ship = state.apps.get_model("billing", "Ship")
    with quick_states():
        state.add_model(ModelState("billing", "Port", [("id", models.AutoField(primary_key=True))]))
        port = models.ForeignKey("billing.Ship", models.CASCADE, default=1)
        state.add_field("billing", "port", "ship", port, preserve_default=False)
        assert state.apps.get_model("billing", "Ship") is ship
        field = state.apps.get_model("billing", "Port")._meta.get_field("ship")
        assert field.related_model is ship
        assert not field.has_default()
        # As a function of a migration begins.
        state.clear_delayed_apps_cache()
        whole = state.apps.get_model("billing", "Ship")
        assert [one.name for one in whole._meta.related_objects] == ["port"]
