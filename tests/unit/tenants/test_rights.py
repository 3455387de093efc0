"""The algebra of rights: adding grants up, what two allow in common, and the limits of a key."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from tenants.access.permissions import PERMISSIONS, ROLE_PERMISSIONS
from tenants.access.rights import PROJECT_PERMISSIONS, VIEW_ALL, Rights, permissions_of, rights_from

PLACES = [UUID(int=number) for number in range(1, 4)]
SOME = st.frozensets(st.sampled_from(sorted(PERMISSIONS)), max_size=6) | st.just(PERMISSIONS)
BUILT_IN = st.sampled_from(sorted(ROLE_PERMISSIONS))


@st.composite
def grants(draw: Any) -> dict[str, Any]:
    own = draw(st.booleans())
    return {
        "built_in": "" if own else draw(BUILT_IN),
        "role": draw(st.sampled_from(["Readers", "Desk"])) if own else "ignored",
        "permissions": [*sorted(draw(SOME)), "unknown.permission"] if own else None,
        "project": draw(st.none() | st.sampled_from([str(one) for one in PLACES])),
    }


GRANTS = st.lists(grants(), max_size=4)
RIGHTS = GRANTS.map(rights_from)


@given(GRANTS)
def test_grants_add_up_and_in_a_project_give_only_what_can_be_limited_to_one(given_: list[dict[str, Any]]) -> None:
    found = rights_from(given_)
    tenant_wide = [one for one in given_ if one["project"] is None]
    assert found.everywhere == frozenset().union(
        *(permissions_of(one["built_in"], one["permissions"]) for one in tenant_wide)
    )
    assert set(found.roles) == {one["built_in"] or one["role"] for one in tenant_wide}
    for place in PLACES:
        here = [one for one in given_ if one["project"] == str(place)]
        allowed = frozenset().union(*(permissions_of(one["built_in"], one["permissions"]) for one in here))
        assert found.there(place) == found.everywhere | (allowed & PROJECT_PERMISSIONS)
        assert found.sees(place) == (VIEW_ALL in found.everywhere or bool(here))


@given(RIGHTS, RIGHTS)
def test_what_two_allow_in_common_is_what_each_allows_everywhere_and_in_every_project(
    one: Rights, other: Rights
) -> None:
    both = one.common(other)
    assert both.everywhere == one.everywhere & other.everywhere
    for place in PLACES:
        assert both.there(place) == one.there(place) & other.there(place) or place not in {
            *one.in_projects,
            *other.in_projects,
        }
        if {place} & (one.opened | other.opened):
            assert both.sees(place) == (one.sees(place) and other.sees(place))


@given(RIGHTS, SOME, st.sampled_from(PLACES))
def test_a_key_has_no_more_than_its_scopes_and_its_project_allow(
    held: Rights, scopes: frozenset[str], place: UUID
) -> None:
    limited = held.within(scopes)
    assert limited.everywhere == held.everywhere & scopes
    assert {one: limited.there(one) for one in PLACES} == {one: held.there(one) & scopes for one in PLACES}
    assert limited.opened == held.opened
    within = held.within(scopes, place)
    assert within.everywhere == frozenset()
    for one in PLACES:
        assert within.there(one) == (held.there(one) & scopes & PROJECT_PERMISSIONS if one == place else frozenset())
        assert within.sees(one) == (one == place and held.sees(one))
