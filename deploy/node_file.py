"""The file that holds the credentials of this machine's node: variables, a line each, for its owner alone."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path


class Draft:
    """A file that takes the place of another only once it is whole. Raises OSError if it cannot be written there."""

    def __init__(self, to: Path) -> None:
        self._to, self._path = to, to.with_name(f".{to.name}.new")
        self._path.unlink(missing_ok=True)
        self._file = os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w")

    def finish(self, variables: Mapping[str, str]) -> None:
        """Write the variables, and put the file in its place."""
        with self._file as file:
            file.write("".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items()))
            file.flush()
            os.fsync(file.fileno())
        self._path.replace(self._to)

    def discard(self) -> None:
        """Leave nothing behind, unless it is finished."""
        self._file.close()
        self._path.unlink(missing_ok=True)


def option(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the file of a node's process."""
    parser.add_argument("--credentials", type=Path, metavar="FILE", help="of a node: its login and its secret")


def take(options: argparse.Namespace) -> None:
    """Add the variables of the file that is named, if one is, to those of this process; exit with the reason if it cannot be read."""
    if options.credentials:
        try:
            os.environ.update(read(options.credentials))
        except (OSError, ValueError) as error:
            sys.exit(f"--credentials: {error}")


def read(path: Path) -> dict[str, str]:
    """Return the variables of such a file. Raises OSError, and ValueError for what is no such file."""
    pairs = [one.partition("=") for one in shlex.split(path.read_text(), comments=True)]
    if not all(equals for _, equals, _ in pairs):
        raise ValueError(f"{path} is no file of variables, a line each")
    return {name: value for name, _, value in pairs}
