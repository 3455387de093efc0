#!/usr/bin/env python
"""Run a management command with the database role that it needs and no other."""

import sys

try:
    from config.env import OWNER_COMMANDS, choose_database_role
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"This Python has no {missing.name}. Use the one that `make venv` prepares: .venv/bin/python {' '.join(sys.argv)}"
    ) from None

#: They inspect an installation, or the code, and report their findings.
ONLY_LOOK = frozenset({"", "help", "check", "config", "doctor", "spectacular"})


def main() -> None:
    """Select the role by the command's name, refuse one that is too strong, then run Django."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if sys.argv[1:3] == ["node", "join"]:  # on a machine that has no settings yet
        from deploy import node_join

        raise SystemExit(node_join.main(sys.argv[3:]))
    choose_database_role(command)
    from django.core.management import execute_from_command_line

    if command not in OWNER_COMMANDS | ONLY_LOOK:
        import django

        django.setup()
        from tenants.checks import refuse_unsafe_role

        refuse_unsafe_role()

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
