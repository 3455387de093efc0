"""What the two images hold, laid out in a folder."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.unit.deploy.manifests import DEPLOY, ROOT


class Images:
    """What the two images hold, laid out in a folder: the code that the Dockerfile copies, and the packages of `web`."""

    def __init__(self, folder: Path) -> None:
        self.code, self._venv = folder / "app", folder / "venv"
        dockerfile = (DEPLOY / "docker/Dockerfile").read_text()
        hidden = shutil.ignore_patterns("__pycache__", "*.pyc")
        for name in re.findall(r"^COPY (\w+) \1$", dockerfile, re.M):
            shutil.copytree(ROOT / name, self.code / name, ignore=hidden)
        shutil.copy(ROOT / "manage.py", self.code)
        shutil.copytree(sys.prefix, self._venv, copy_function=_link, symlinks=True, ignore=hidden)
        self._leave_out_what_web_lacks()
        subprocess.run(["chmod", "-R", "a+rX,go-w", str(self.code)], check=True)

    def python(self, image: str) -> str:
        """Return the interpreter of an image."""
        return sys.executable if image.startswith("exchequer-worker") else str(self._venv / "bin/python")

    def _leave_out_what_web_lacks(self) -> None:
        text = (DEPLOY / "docker/requirements-web.txt").read_text()
        kept = {_normal(name) for name in re.findall(r"^([\w.-]+)(?:\[\w+\])?==", text, re.M)}
        site = next(self._venv.glob("lib/python3*/site-packages"))
        for found in importlib.metadata.distributions(path=[str(site)]):
            if _normal(found.metadata["Name"]) not in kept:
                for file in found.files or ():
                    place = Path(os.path.normpath(site / file))
                    if place.is_relative_to(site):
                        place.unlink(missing_ok=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
