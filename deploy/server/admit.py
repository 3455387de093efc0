"""Make a machine of the platform a node: give it a login and a secret, in a file that its worker starts with.

    python -m deploy.server.admit --name compose --to /run/node/node.env
    python -m deploy.server.admit --serving --name compose --to /run/node/node.env

The second is for a serving node, which also has the key that it signs with, derived from SECRET_KEY.
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

OWNER_URL, SECRET_KEY, PUBLIC_URL = "DATABASE_OWNER_URL", "SECRET_KEY", "EXCHEQUER_PUBLIC_URL"


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and write the file."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.server.admit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", required=True, help="of the node")
    parser.add_argument("--serving", action="store_true", help="a serving node of that name")
    parser.add_argument("--to", type=Path, required=True, metavar="FILE")
    options = parser.parse_args(arguments)
    try:
        given = {**os.environ, **variables.from_files(os.environ, [OWNER_URL, SECRET_KEY])}
        missing = [name for name in (OWNER_URL, *([SECRET_KEY] if options.serving else [])) if not given.get(name)]
        if missing:
            sys.exit(f"{' and '.join(missing)} not set: a node gets its credentials where these are")
        name, more = options.name, {}
        if options.serving:
            name = f"serving.{name}"
            more = {node_settings.SERVING: node_settings.serving_key(given[SECRET_KEY])}
        if given.get(PUBLIC_URL) and not given.get(node_settings.PLATFORM):
            more |= {node_settings.PLATFORM: given[PUBLIC_URL]}
        if works(given[OWNER_URL], name, options.to, more):
            print(f"the credentials of {name} are in place", flush=True)
            return
        write(given[OWNER_URL], name, options.to, more, serving=options.serving)
    except variables.Unreadable as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"{options.to} cannot be written: {error.strerror}")
    except psycopg.Error as error:
        sys.exit(f"the database refuses: {str(error).strip().splitlines()[0]}")
    print(f"{name} is a node, with new credentials in {options.to}", flush=True)


def write(owner: str, name: str, file: Path, more: dict[str, str], *, serving: bool) -> None:
    """Make new credentials of the node of that name, and write them. Raises OSError, psycopg.Error."""
    draft = node_file.Draft(file)
    try:
        own = {"DATABASE_URL": nodes.admit(owner, name, serving=serving)}
        if not serving:
            own["EXCHEQUER_NODE_ID"] = name
        draft.finish({**own, "EXCHEQUER_DB_ROLE": "app", node_settings.SECRET: nodes.enrol(owner, name), **more})
    finally:
        draft.discard()


def works(owner: str, name: str, file: Path, more: dict[str, str]) -> bool:
    """Return whether the file holds what the node of that name needs, and the database takes it. Raises psycopg.Error."""
    try:
        kept = node_file.read(file)
        if not kept.items() >= more.items() or not nodes.knows(owner, name, kept[node_settings.SECRET]):
            return False
        psycopg.connect(kept["DATABASE_URL"], connect_timeout=5).close()
    except (OSError, ValueError, KeyError, psycopg.OperationalError):
        return False
    return True


if __name__ == "__main__":
    main()
