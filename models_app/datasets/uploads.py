"""Limit the size of an upload by counting bytes as they arrive.

`CappedUploadHandler` is first in FILE_UPLOAD_HANDLERS, so that the cap holds before any view, form or middleware reads
the request.
"""

from __future__ import annotations

from typing import Any, cast

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, StopUpload
from django.http import HttpRequest
from rest_framework.request import Request

from models_app.tables.limits import MIB
from tenants.errors import ExchequerError, Invalid

FLAG = "upload_too_large"
FORM_SLACK = MIB


class UploadTooLarge(ExchequerError):
    """The file exceeds the upload limit. Split it, leave out columns, or convert it to Parquet."""

    code = "file_too_large"
    status = 413

    def __init__(self) -> None:
        most = settings.EXCHEQUER.max_upload_mb
        super().__init__(f"The file is larger than {most} MiB. Split it, leave out columns, or convert it to Parquet.")


def most_bytes() -> int:
    """Return the size limit of an upload, in bytes. It is checked by counting what arrives, not by a header alone."""
    return int(settings.EXCHEQUER.max_upload_mb) * MIB


def size_advice() -> str:
    """Return what to do about a request that is too large."""
    most = settings.EXCHEQUER.max_upload_mb
    return f"A file may have {most} MiB: choose a smaller one, split it, or convert it to Parquet."


class CappedUploadHandler(FileUploadHandler):
    """Stop reading when the files of one request exceed the cap."""

    def __init__(self, request: HttpRequest | None = None) -> None:
        super().__init__(request)
        self._received = 0

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        """Count a chunk and pass it on."""
        self._received += len(raw_data)
        if self._received > most_bytes():
            setattr(self.request, FLAG, True)
            raise StopUpload(connection_reset=False)
        return raw_data

    def file_complete(self, file_size: int) -> None:
        """Leave the file to the next handler."""


def cap_uploads(request: HttpRequest) -> None:
    """Put the cap first among the upload handlers of a request whose body has not been read yet."""
    if not hasattr(request, "_files") and not any(
        isinstance(handler, CappedUploadHandler) for handler in request.upload_handlers
    ):
        request.upload_handlers.insert(0, CappedUploadHandler(request))


def uploaded_file(request: HttpRequest | Request, name: str = "file") -> UploadedFile[Any]:
    """Return the uploaded file of a request. Raises UploadTooLarge, or Invalid if it is missing or empty."""
    found = request.FILES.get(name)
    plain: HttpRequest = getattr(request, "_request", request)
    declared = plain.META.get("CONTENT_LENGTH") or "0"
    if getattr(plain, FLAG, False) or (declared.isdecimal() and int(declared) > most_bytes() + FORM_SLACK):
        raise UploadTooLarge
    if found is None:
        raise Invalid(fields={name: ["Choose a CSV or Parquet file."]})
    file = cast("UploadedFile[Any]", found)
    if not file.size:
        raise Invalid(fields={name: ["The file is empty. Choose a CSV or Parquet file with a heading and rows."]})
    if file.size > most_bytes():
        raise UploadTooLarge
    return file
