"""A tenant with an OpenID provider and a proven domain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tenants.models import Tenant
    from tests.fakes.openid import OpenIdProvider


@pytest.fixture
def idp(monkeypatch: pytest.MonkeyPatch) -> OpenIdProvider:
    """A provider to which all requests go."""
    from tenants.identity.providers import oidc, outbound
    from tests.fakes.openid import OpenIdProvider

    made = OpenIdProvider()
    oidc._discovered.clear()
    monkeypatch.setattr(outbound, "send", made.send)
    return made


@pytest.fixture
def tenant(db: None, idp: OpenIdProvider) -> Tenant:
    """The tenant `ours` with that provider and the proven domain ours.example."""
    from tests.api.tenants.providers import steps
    from tests.support import factories

    made = factories.make_tenant("ours", owner="owner@ours.example")
    steps.configure(made, idp)
    steps.prove(made)
    return made
