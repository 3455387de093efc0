"""`manage.py bootstrap`: the tenant and the operator named by EXCHEQUER_INIT_*, created once; existing data is never changed."""

import re
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from tenants import bootstrap, queries
from tenants.errors import ExchequerError
from tenants.operators import grants


class Command(BaseCommand):
    """Create the tenant and the first operator of the environment if they are absent."""

    help = (
        "Create the organisation that EXCHEQUER_INIT_TENANT, _EMAIL, _PASSWORD and _API_KEY describe, and the operator of "
        "EXCHEQUER_INIT_OPERATOR_EMAIL, _PASSWORD and _API_KEY, if there is none."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print what was done; exit 1 naming what is missing."""
        env = settings.EXCHEQUER
        if env.init_operator_email or env.init_operator_password or env.init_operator_api_key:
            self._operator()
        if env.init_tenant:
            self._tenant()

    def _operator(self) -> None:
        env = settings.EXCHEQUER
        missing = [
            f"EXCHEQUER_{name.upper()}"
            for name in ("init_operator_email", "init_operator_password")
            if not getattr(env, name)
        ]
        if missing:
            raise CommandError(f"Set also: {', '.join(missing)}")
        if grants.operators():
            self.stdout.write("there is an operator already; none was made")
            return
        try:
            grants.create_first(env.init_operator_email, env.init_operator_password, env.init_operator_api_key)
        except ExchequerError as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"{env.init_operator_email} is platform_admin")

    def _tenant(self) -> None:
        env = settings.EXCHEQUER
        missing = [name for name in ("init_email", "init_password") if not getattr(env, name)]
        if missing:
            raise CommandError("Set also: " + ", ".join(f"EXCHEQUER_{name.upper()}" for name in missing))
        slug = re.sub(r"[^a-z0-9]+", "-", env.init_tenant.lower()).strip("-")[:50]
        if queries.tenant_by_slug(slug) is not None:
            self.stdout.write(f"{slug} exists; nothing was changed")
            return
        try:
            with transaction.atomic():
                made = bootstrap.create(
                    bootstrap.Wanted(
                        name=env.init_tenant,
                        slug=slug,
                        email=env.init_email,
                        password=env.init_password,
                        api_key=env.init_api_key or None,
                    )
                )
        except ExchequerError as error:
            raise CommandError(error.message) from error
        bootstrap.settle_in(made.tenant_id)
        self.stdout.write(f"{slug} created; its owner is {made.email}")
