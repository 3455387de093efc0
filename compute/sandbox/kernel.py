"""Thin calls into the Linux kernel through ctypes: prctl, unshare, capset and raw system calls."""

from __future__ import annotations

import ctypes
import errno
import os

PR_SET_PDEATHSIG = 1
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
MNT_DETACH = 2
CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _CapabilityData(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


def _check(answer: int, call: str) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
    return answer


def syscall(number: int, *arguments: object) -> int:
    """Make one raw system call; raises OSError with the kernel's errno."""
    return _check(int(_libc.syscall(ctypes.c_long(number), *arguments)), f"syscall {number}")


def prctl(option: int, first: int = 0, second: int = 0) -> None:
    """Call prctl(option, first, second, 0, 0); raises OSError."""
    words = (ctypes.c_ulong(first), ctypes.c_ulong(second), ctypes.c_ulong(0), ctypes.c_ulong(0))
    _check(int(_libc.prctl(ctypes.c_int(option), *words)), f"prctl {option}")


def unshare(flags: int) -> None:
    """Leave the namespaces named by `flags`; raises OSError."""
    _check(int(_libc.unshare(ctypes.c_int(flags))), "unshare")


def enter_namespace(path: str, flag: int) -> None:
    """Enter the namespace that a file of /proc names; raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(int(_libc.setns(ctypes.c_int(handle), ctypes.c_int(flag))), f"setns {path}")
    finally:
        os.close(handle)


def own_user_namespace() -> None:
    """Enter a user namespace in which the caller keeps its identity and may create other namespaces; raises OSError."""
    user, group = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER)
    for name, words in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(words)


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """Call mount(2); raises OSError."""
    words = [None if word is None else word.encode() for word in (source, target, kind)]
    _check(int(_libc.mount(*words, ctypes.c_ulong(flags), data.encode())), f"mount {target}")


def umount(target: str, flags: int = 0) -> None:
    """Call umount2(2); raises OSError."""
    _check(int(_libc.umount2(target.encode(), ctypes.c_int(flags))), f"umount {target}")


def drop_capabilities() -> None:
    """Empty every capability set of the calling thread; raises OSError.

    The bounding set is emptied first, as far as the process may.
    """
    for capability in range(64):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError as refusal:
            if refusal.errno == errno.EINVAL:  # past the last capability this kernel knows
                break
            if refusal.errno != errno.EPERM:
                raise
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    data = (_CapabilityData * 2)()
    _check(int(_libc.capset(ctypes.byref(header), ctypes.byref(data))), "capset")
