"""Load models from the object store into memory, through a cache folder named by content hash."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from compute.kinds import BadOutput
from models_app.endpoints.deployments import EndpointSpec
from models_app.object_store.storage import ChecksumMismatch, ObjectMissing, StorageUnavailable
from models_app.recipes.tabular.prediction import predict
from models_app.registry import artefacts
from models_app.serving.backend import SIGNATURE, WEIGHTS, Backend, BackendUnavailable

MAX_WEIGHTS_BYTES = 2 * 1024**3
KEPT_MODELS = 16


class LoadDeferred(Exception):
    """The object store is unreachable, or the disk is full; a retry may succeed."""


class CannotLoad(Exception):
    """This version can never be served as stored. The message is for people."""


class Loader:
    """Model cache by content. `folder` may be removed at any time."""

    def __init__(self, backend: Backend, folder: Path) -> None:
        self._backend = backend
        self._folder = folder

    def load(self, order: EndpointSpec) -> predict.Predictor:
        """Return the model of an order. Raises LoadDeferred, CannotLoad."""
        if order.weights.size > MAX_WEIGHTS_BYTES:
            raise CannotLoad("The model is too large for a serving slot: at most 2 GiB of weights.")
        home = self._folder / f"{order.weights.sha256}-{order.signature_file.sha256[:16]}"
        try:
            if not _sound(home, order):
                self._fetch(order, home)
            home.touch()
            artefacts.check_safetensors(home / WEIGHTS)
            return predict.load(home)
        except ChecksumMismatch as error:
            raise CannotLoad("The stored model is damaged: its checksum differs.") from error
        except ObjectMissing as error:
            raise CannotLoad("The stored model is missing from the object store.") from error
        except (StorageUnavailable, BackendUnavailable, OSError) as error:
            raise LoadDeferred(str(error)) from error
        except (BadOutput, predict.UnreadableModel, ValueError, KeyError, TypeError) as error:
            raise CannotLoad("The stored model cannot be read.") from error

    def tidy(self) -> None:
        """Remove the least recently loaded models beyond the number to keep."""
        if self._folder.is_dir():
            known = sorted(self._folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
            for path in known[KEPT_MODELS:]:
                shutil.rmtree(path, ignore_errors=True)

    def _fetch(self, order: EndpointSpec, home: Path) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self.tidy()
        partial = Path(tempfile.mkdtemp(prefix="new-", dir=self._folder))
        try:
            self._backend.fetch(order, partial)
            shutil.rmtree(home, ignore_errors=True)
            partial.replace(home)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _sound(home: Path, order: EndpointSpec) -> bool:
    wanted = ((home / WEIGHTS, order.weights), (home / SIGNATURE, order.signature_file))
    return all(path.is_file() and _sha256(path) == stored.sha256 for path, stored in wanted)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
