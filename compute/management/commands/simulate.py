"""`manage.py simulate`: replay a trace of jobs through the policy that assigns devices here."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from compute.simulation.report import Comparison, Figures, compare
from compute.simulation.traces import TraceInvalid, read


class Command(BaseCommand):
    """Compare static quotas, one pool by our policy, and the limit."""

    help = "Replay a trace of jobs: a wall around each tenant against one pool by the policy of this installation."
    requires_system_checks: list[str] = []  # it reads a file, and nothing of the installation

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the trace and the load."""
        parser.add_argument("--trace", type=Path, required=True, help="a CSV, or a folder of them, one a tenant")
        parser.add_argument("--load", type=float, default=0.7, help="how busy the static quotas are, above 0 to 1")
        parser.add_argument("--json", action="store_true", help="print figures as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Replay and print."""
        if not 0 < options["load"] <= 1:
            raise CommandError("Give a load above 0 and at most 1, such as 0.7.")
        try:
            found = compare(read(options["trace"]), options["load"])
        except TraceInvalid as wrong:
            raise CommandError(str(wrong)) from None
        self.stdout.write(json.dumps(found.json()) if options["json"] else _table(found))


def _table(found: Comparison) -> str:
    rows = [
        f"{found.jobs} jobs on {found.devices} devices",
        f"{'':10}{'queue':>12}{'completion':>12}{'busy':>8}{'idle while queued':>20}",
    ]
    named: dict[str, Figures] = {"static": found.static, "pooled": found.pooled, "oracle": found.oracle}
    for name, one in named.items():
        rows.append(
            f"{name:10}{one.mean_queue_s / 3600:10.2f} h{one.mean_jct_s / 3600:10.2f} h"
            f"{one.utilisation:8.1%}{one.idle_while_queued:20.2%}"
        )
    rows.append(
        f"The tenant that gains least completes {found.worst_tenant_jct_ratio:.2f}x as fast as behind its wall."
    )
    return "\n".join(rows)
