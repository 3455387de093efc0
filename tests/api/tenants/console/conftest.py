"""Fixtures of the console's tests: operators, and a demo that needs no second factor."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

Role = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def operator(as_control: Role) -> Callable[..., None]:
    from tenants.operators import grants
    from tests.support import factories
    from tests.support.console import ROOT

    def make(*roles: str, email: str = ROOT) -> None:
        with as_control():
            for role in roles or ("platform_admin",):
                grants.grant(email, role, password=factories.PASSWORD)

    return make


@pytest.fixture
def without_second_factor(settings: Any) -> None:
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"demo": True, "bound_to": "127.0.0.1"})
