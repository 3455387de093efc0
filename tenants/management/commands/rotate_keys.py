"""`manage.py rotate_keys`: a new master key for the installation, with `--tenant` a new data key for one organisation, or
with `--second-factors` those of one side under its new secret key."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants import operations
from tenants.access.actor import Actor
from tenants.encryption import KeyUnavailable, rotation
from tenants.identity import second_factor
from tenants.isolation import locks
from tenants.models import Tenant

HOW = (
    "give the new key as EXCHEQUER_MASTER_KEY and the old one as EXCHEQUER_MASTER_KEY_PREVIOUS, to this command and to every "
    "process, or keep the key in a file that EXCHEQUER_MASTER_KEY_FILE names: then a new one is made there"
)


SIDES = (
    "each side has its own secret key: run it once with EXCHEQUER_DB_ROLE=app, SECRET_KEY and SECRET_KEY_PREVIOUS, and once with "
    "EXCHEQUER_DB_ROLE=operator, EXCHEQUER_OPERATOR_SECRET_KEY and EXCHEQUER_OPERATOR_SECRET_KEY_PREVIOUS"
)


class Command(BaseCommand):
    help = (
        "Wrap all data keys with a new master key, or (--tenant) create a data key for new files of one organisation, or "
        "(--second-factors) encrypt the second factors of one side under its new secret key."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument(
            "--second-factors", action="store_true", help="encrypt second factors under a new secret key"
        )
        parser.add_argument("--tenant", metavar="SLUG", help="create a new data key for this organisation instead")

    def handle(self, *args: Any, tenant: str | None, second_factors: bool, **options: Any) -> None:
        """Rotate and print what to do next."""
        if second_factors:
            self.stdout.write(self._second_factors())
            return
        try:
            with locks.alone("exchequer rotate_keys") as alone:
                if not alone:
                    raise CommandError("another rotation is in progress")
                self.stdout.write(self._tenant(tenant) if tenant else self._master())
        except KeyUnavailable as error:
            raise CommandError(f"a data key could not be unwrapped, nothing was changed: {HOW}") from error

    def _tenant(self, slug: str) -> str:
        found = Tenant.objects.filter(slug=slug).first()
        if found is None:
            raise CommandError(f"no organisation {slug!r}")
        version = operations.rotate_data_key(actor=Actor.system(found.id, "rotate_keys"))
        return f"new files of {slug} are encrypted under data key {version}; older ones stay readable"

    def _second_factors(self) -> str:
        if settings.EXCHEQUER.db_role not in ("app", "operator"):
            raise CommandError(SIDES)
        done = second_factor.reseal()
        if done.lost:
            raise CommandError(
                f"{done.lost} second factors open under neither secret key, {done.changed} others are encrypted under the new one. "
                "Give the key that they were stored under as the previous one, or have their people set them up once more"
            )
        return (
            f"{done.changed} second factors are encrypted under the new secret key now. Once every process has it, run this "
            "until it changes none; then leave out the previous key"
        )

    def _master(self) -> str:
        env = settings.EXCHEQUER
        if env.master_key_file and Path(env.master_key_file).exists():
            done = rotation.to_fresh_key(Path(env.master_key_file))
        elif env.master_key_previous:
            done = rotation.to_given_key()
        else:
            raise CommandError(HOW)
        said = f"{done.keys} data keys are wrapped with the master key {done.master_id} now"
        if done.kept:
            said += f". The old key lies in {done.kept}: backups that were made before need it"
        return f"{said}. Copy the new key to another machine, then run manage.py confirm_key_backup"
