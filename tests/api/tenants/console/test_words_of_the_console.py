"""What the console's pages say to somebody who is new to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client, override_settings

from config.mail import mail_settings
from tests.api.test_matrix import client_for
from tests.support import factories
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db


def test_the_mail_page_names_the_folder_and_where_a_view_is_recorded(seller: Any, tmp_path: Path) -> None:
    with override_settings(**mail_settings("", tmp_path)):
        page = text_of(seller("platform_admin").get("/mail/"))
    assert str(tmp_path) in page and "recorded in the operator log" in page


def test_no_page_of_the_account_leads_to_one_that_the_console_has_not(seller: Any) -> None:
    page = text_of(seller("platform_admin").get("/accounts/password/change/"))
    assert "Current password" in page and "/accounts/password/reset/" not in page


def test_all_faults_of_a_new_organisation_are_marked_at_once(seller: Any) -> None:
    given = {"name": "", "slug": "Bad Slug!", "owner_email": "nobody", "currency": "EUR", "timezone": "UTC"}
    page = seller("platform_admin").post("/tenants/new/", given)
    assert page.status_code == 422
    assert {"name", "slug", "owner_email"} <= set(page.context["form"].errors)
    assert "only price books in the currency above" in text_of(page)


def test_the_home_page_shows_acts_and_no_log_ins(seller: Any) -> None:
    admin = seller("platform_admin")
    tenant = factories.make_tenant("ours")
    admin.post(f"/tenants/{tenant.id}/suspend/", {"reason": "Invoice 17 is open"})
    page = text_of(admin.get("/"))
    assert "Invoice 17 is open" in page and "Organisations" in page and "Tenants" not in page
    assert "ogged in" not in page.partition("What operators did")[2]
    assert "ogged in" in text_of(admin.get("/log/"))


def test_the_form_of_a_grant_says_what_a_role_in_a_project_allows() -> None:
    owner: Client = client_for(factories.make_tenant("ours"), "owner")
    page = text_of(owner.get("/t/ours/access/"))
    assert "sees that project alone" in page and "reading needs a role in the whole organisation" not in page
