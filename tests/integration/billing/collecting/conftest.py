"""The ops worker, the provider's stand-in and its events, at one time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_django import Settings

    from tests.conftest import DemoClock
    from tests.integration.billing.collecting.till import Till


@pytest.fixture
def till(db: None, settings: Settings, demo_clock: DemoClock) -> Iterator[Till]:
    """An installation that collects through the stand-in, in April."""
    from tests.fakes.stripe import stripe_server
    from tests.integration.billing.collecting.till import Till
    from tests.integration.billing.invoicing.scene import IN_APRIL

    demo_clock.move_to(IN_APRIL)
    with stripe_server(IN_APRIL) as fake:
        yield Till(fake, settings, demo_clock)
