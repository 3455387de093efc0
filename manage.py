#!/usr/bin/env python
"""Run a management command with the database role that the command needs and no other."""

import sys

from config.env import choose_database_role


def main() -> None:
    """Pick the role by the command's name, then hand over to Django."""
    choose_database_role(sys.argv[1] if len(sys.argv) > 1 else "")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
