"""The file that holds the credentials of this machine's node: variables, a line each, for its owner alone."""

from __future__ import annotations

import os
import shlex
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


def read(path: Path) -> dict[str, str]:
    """Return the variables of such a file. Raises OSError, and ValueError for what is no such file."""
    pairs = [one.partition("=") for one in shlex.split(path.read_text(), comments=True)]
    if not all(equals for _, equals, _ in pairs):
        raise ValueError(f"{path} is no file of variables, a line each")
    return {name: value for name, _, value in pairs}
