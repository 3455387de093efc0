"""Make a machine of the platform a node: give it a login and a secret, in a file that its worker starts with.

    python -m deploy.server.admit --name compose --to /run/node/node.env

It runs where DATABASE_OWNER_URL is, once before the worker starts; the worker itself never has that URL. Credentials that still
work stay as they are; those of a node that was ended are replaced, so a thief of the old file gains nothing. Machines elsewhere join
with a token: `manage.py node join`.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import psycopg

from config import node_settings, variables
from deploy import node_file, nodes

OWNER_URL = "DATABASE_OWNER_URL"


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and write the file."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.server.admit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", required=True, help="of the node")
    parser.add_argument("--to", type=Path, required=True, metavar="FILE")
    options = parser.parse_args(arguments)
    try:
        owner = {**os.environ, **variables.from_files(os.environ, [OWNER_URL])}.get(OWNER_URL, "")
        if not owner:
            sys.exit(f"{OWNER_URL} is not set: it names the owner of the tables")
        if works(owner, options.name, options.to):
            print(f"the credentials of {options.name} are in place", flush=True)
            return
        draft = node_file.Draft(options.to)
        try:
            draft.finish(
                {
                    "DATABASE_URL": nodes.admit(owner, options.name),
                    "EXCHEQUER_DB_ROLE": "app",
                    "EXCHEQUER_NODE_ID": options.name,
                    node_settings.SECRET: nodes.enrol(owner, options.name),
                }
            )
        finally:
            draft.discard()
    except variables.Unreadable as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"{options.to} cannot be written: {error.strerror}")
    except psycopg.Error as error:
        sys.exit(f"the database refuses: {str(error).strip().splitlines()[0]}")
    print(f"{options.name} is a node, with new credentials in {options.to}", flush=True)


def works(owner: str, name: str, file: Path) -> bool:
    """Return whether the file holds a login and a secret of the node of that name, and the database takes both. Raises psycopg.Error."""
    try:
        kept = node_file.read(file)
        if kept["EXCHEQUER_NODE_ID"] != name or not nodes.knows(owner, name, kept[node_settings.SECRET]):
            return False
        psycopg.connect(kept["DATABASE_URL"], connect_timeout=5).close()
    except (OSError, ValueError, KeyError, psycopg.OperationalError):
        return False
    return True


if __name__ == "__main__":
    main()
