"""Landlock: which files the child may read, and the one folder it may write.

Structures and numbers follow the kernel's include/uapi/linux/landlock.h. Rights unknown to the running kernel are left
out by its ABI number, so one rule set works on every kernel since 5.13.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

from compute.sandbox import kernel

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_RULE_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_FIRST_ABI_RIGHTS = (1 << 13) - 1
_TCP = 0b11
_SCOPES = 0b11  # abstract unix sockets, signals to processes outside

READ = _READ_FILE | _READ_DIR
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV


class _Ruleset(ctypes.Structure):
    _fields_ = [("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = [("allowed", ctypes.c_uint64), ("parent_fd", ctypes.c_int32)]


def abi() -> int:
    """Return the kernel's Landlock ABI, 0 if Landlock is absent or disabled."""
    try:
        return kernel.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG))
    except OSError:
        return 0


def restrict(
    *, read: Iterable[Path], write: Iterable[Path], devices: Iterable[Path] = (), network: bool = False
) -> None:
    """Confine the calling thread, and everything it starts later, to these paths; raises OSError.

    `read` may be read, `write` may also be changed, `devices` are files opened for reading and writing. Executing
    files and signals to outside processes are never granted, TCP only with `network`. Missing paths are skipped.
    """
    version = abi()
    if version < 1:
        raise OSError("Landlock is not available")
    handled = _FIRST_ABI_RIGHTS
    handled |= _REFER if version >= 2 else 0
    handled |= _TRUNCATE if version >= 3 else 0
    handled |= _IOCTL_DEV if version >= 5 else 0
    rules = _Ruleset(handled, _TCP if version >= 4 and not network else 0, _SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = kernel.syscall(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint32(0))
    try:
        for path in read:
            _allow(ruleset, path, READ & handled)
        for path in write:
            _allow(ruleset, path, handled & ~_EXECUTE)
        for path in devices:
            _allow(ruleset, path, handled & (_READ_FILE | _WRITE_FILE | _IOCTL_DEV))
        kernel.syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not path.is_dir():
            rights &= _ON_FILES
        rule = _PathBeneath(rights, handle)
        kernel.syscall(
            _ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_RULE_PATH_BENEATH), ctypes.byref(rule), ctypes.c_uint32(0)
        )
    finally:
        os.close(handle)
