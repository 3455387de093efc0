"""Wording of an audit entry's changes."""

from typing import Any

import pytest

from tenants.audit import AuditAction
from tenants.audit.differences import sentences
from tenants.audit.words import act_words

ANN = "01a22774-0000-7000-8000-000000000001"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"limit": [2, 4]}, "limit changed from 2 to 4"),
        ({"max_seconds": [None, 60]}, "time limit (s) set to 60"),
        ({"slo_ms": [None, 2000]}, "latency objective (ms) set to 2000"),
        ({"wanted": ["staging", "production"]}, "requested stage changed from staging to production"),
        ({"role": ["viewer", None]}, "role removed, it was viewer"),
        ({"restricted": [False, True]}, "restricted changed from no to yes"),
        ({"requested_by": [None, ANN]}, "requested by set to ann@example.org"),
        ({"scopes": [["a", "b"], ["b", "c"]]}, "scopes: added c; removed a"),
        ({"kind": "train"}, "kind: train"),
        ({"worst": [None, {"amount": "1.50", "currency": "EUR"}]}, "worst set to €1.50"),
        ({"worst": [None, {"amount": "120.000000", "currency": "EUR"}]}, "worst set to €120.00"),
        ({"cost": {"amount": "1234.000000", "currency": "JPY"}}, "cost: ¥1,234"),
        ({"cost": {"amount": "0.001900", "currency": "EUR"}}, "cost: €0.0019"),
        ({"tags": {"amount": "1e999999", "currency": "x"}}, "tags: 1e999999 x"),
        ({"prices": [None, [["seconds", {"tier": "spot"}, "1"]]]}, "prices set to seconds; tier spot; 1"),
        ({"effective_at": [None, "2026-11-29T12:30:00.000000+00:00"]}, "effective at set to 2026-11-29 12:30 UTC"),
        ({"source": ["x", "x"]}, "source: x"),
    ],
)
def test_a_difference_is_a_sentence(changes: dict[str, Any], said: str) -> None:
    assert sentences(changes, {ANN: "ann@example.org"}) == (said,)


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ("compute.job.submitted", "Job submitted"),
        ("tenants.api_key.created", "API key created"),
        ("tenants.tenant.changed", "Organisation changed"),
        ("models_app.model_version.requested", "Promotion requested"),
        ("compute.device.cordoned", "Device cordoned"),
    ],
)
def test_an_action_has_a_description(action: str, said: str) -> None:
    assert act_words(action) == said


def test_no_action_is_left_as_its_code() -> None:
    assert not [action for action in AuditAction.known if "_" in act_words(action) or "." in act_words(action)]
