"""Format of an encrypted object: AES-256-GCM in chunks, so that any size needs little memory and ranges can be read.

    header   "EXQ" and the format's version (4 bytes) | id of the data key (16) | chunk size (4) | salt (32) | nonce prefix (7)
    records  each chunk's ciphertext with its tag of 16 bytes

The construction is Tink's AES-GCM-HKDF streaming: each object has a key of its own, HKDF-SHA256 of the data key and the
salt. A chunk's nonce is prefix, number and whether it is the last; header and the object's name are authenticated with
every chunk. So a chunk that is altered, moved, left out, cut off or taken from another object does not open.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tenants.encryption.keys import DataKey

MAGIC = b"EXQ\x01"
HEADER = struct.Struct(">4s16sI32s7s")
NONCE = struct.Struct(">7sI?")
TAG = 16
CHUNK = 256 * 1024
MAX_CHUNK = 8 * 1024 * 1024
MAX_CHUNKS = 2**32
KEY_BYTES = 32


class Damaged(Exception):
    """The bytes are not a whole encrypted object of this name."""


class Source(Protocol):
    """Protocol of objects with `read`."""

    def read(self, size: int = ..., /) -> bytes:
        """Return at most `size` bytes; none at the end."""


class Target(Protocol):
    """Protocol of objects with `write`."""

    def write(self, data: bytes, /) -> object:
        """Write the bytes of `data`."""


@dataclass(frozen=True)
class Header:
    """The unencrypted header of an encrypted object."""

    raw: bytes
    key_id: UUID
    chunk: int
    salt: bytes
    prefix: bytes

    @classmethod
    def parse(cls, raw: bytes) -> Header:
        """Parse the header from these bytes. Raises Damaged."""
        if len(raw) != HEADER.size:
            raise Damaged("it is shorter than a header")
        magic, key_id, chunk, salt, prefix = HEADER.unpack(raw)
        if magic != MAGIC or not 0 < chunk <= MAX_CHUNK:
            raise Damaged("its header is not one of an encrypted object")
        return cls(raw, UUID(bytes=key_id), chunk, salt, prefix)

    @classmethod
    def fresh(cls, key_id: UUID, chunk: int) -> Header:
        """Return a header with random salt and nonce prefix."""
        return cls.parse(HEADER.pack(MAGIC, key_id.bytes, chunk, os.urandom(32), os.urandom(7)))

    @property
    def record(self) -> int:
        """Size of a full record in bytes."""
        return self.chunk + TAG

    def count(self, size: int) -> int:
        """Return the number of records of an object of `size` plaintext bytes: an empty object has one."""
        return max(1, -(-size // self.chunk))

    def offset(self, number: int) -> int:
        """Return the offset of a record."""
        return HEADER.size + number * self.record


class Cipher:
    """Encrypts and decrypts the records of one object."""

    def __init__(self, header: Header, key: DataKey, name: str) -> None:
        derive = HKDF(SHA256(), KEY_BYTES, header.salt, b"exchequer object 1")
        self._aes = AESGCM(derive.derive(key.secret))
        self._prefix = header.prefix
        self._said = header.raw + name.encode()

    def encrypt(self, number: int, chunk: bytes, *, last: bool) -> bytes:
        """Return the record of a chunk."""
        return self._aes.encrypt(self._nonce(number, last), chunk, self._said)

    def decrypt(self, number: int, record: bytes, *, last: bool) -> bytes:
        """Return the chunk of a record. Raises Damaged."""
        try:
            return self._aes.decrypt(self._nonce(number, last), record, self._said)
        except (InvalidTag, ValueError) as error:
            raise Damaged(f"its part {number} does not open") from error

    def _nonce(self, number: int, last: bool) -> bytes:
        if number >= MAX_CHUNKS:
            raise Damaged("it is larger than an encrypted object can be")
        return NONCE.pack(self._prefix, number, last)


def seal(source: Source, target: Target, key: DataKey, name: str, *, chunk: int = CHUNK) -> tuple[str, int]:
    """Encrypt `source` into `target` as the object `name`; return sha256 (hex) and size of what was read."""
    header = Header.fresh(key.id, chunk)
    cipher = Cipher(header, key, name)
    target.write(header.raw)
    digest, size = hashlib.sha256(), 0
    for number, (piece, last) in enumerate(_pieces(source.read, chunk)):
        digest.update(piece)
        size += len(piece)
        target.write(cipher.encrypt(number, piece, last=last))
    return digest.hexdigest(), size


def unseal(source: Source, key_of: Callable[[UUID], DataKey], name: str) -> Iterator[bytes]:
    """Yield the object's decrypted chunks, each verified before it is yielded. Raises Damaged."""
    header = Header.parse(_exactly(source.read, HEADER.size))
    cipher = Cipher(header, key_of(header.key_id), name)
    for number, (record, last) in enumerate(_pieces(source.read, header.record)):
        yield cipher.decrypt(number, record, last=last)


def unseal_range(
    source: Source, header: Header, key: DataKey, name: str, *, size: int, numbers: range
) -> Iterator[bytes]:
    """Yield the chunks of these numbers from a source that starts with the first of them. Raises Damaged."""
    cipher = Cipher(header, key, name)
    count = header.count(size)
    for number in numbers:
        yield cipher.decrypt(number, _exactly(source.read, header.record), last=number == count - 1)


def _pieces(read: Callable[[int], bytes], size: int) -> Iterator[tuple[bytes, bool]]:
    """Yield blocks of `size` bytes and whether each is the last, which may be shorter; an empty source has one."""
    piece = _exactly(read, size)
    while True:
        following = _exactly(read, size) if len(piece) == size else b""
        yield piece, not following
        if not following:
            return
        piece = following


def _exactly(read: Callable[[int], bytes], size: int) -> bytes:
    """Read `size` bytes, or the rest."""
    parts, missing = [], size
    while missing and (part := read(missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
