"""A system call filter written as classic BPF: what a training child never needs is refused with EPERM.

Sources: kernel Documentation/userspace-api/seccomp_filter.rst; numbers from the kernel's syscall tables of
x86_64 (arch/x86/entry/syscalls/syscall_64.tbl) and of arm64 (include/uapi/asm-generic/unistd.h).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from dataclasses import dataclass

from compute.confinement import kernel

_SET_MODE_FILTER = 1
_FLAG_TSYNC = 1
_LOAD, _EQUAL, _AT_LEAST, _AND_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCH, _FIRST_ARGUMENT, _ARGUMENT = 0, 4, 16, 8
_CLONE_THREAD = 0x00010000
_X32_BIT = 0x40000000

# name -> (x86_64, arm64); None where that architecture has no such call
_DENIED: dict[str, tuple[int | None, int | None]] = {
    "socket": (41, 198), "connect": (42, 203), "accept": (43, 202), "accept4": (288, 242), "bind": (49, 200),
    "listen": (50, 201), "execve": (59, 221), "execveat": (322, 281), "fork": (57, None), "vfork": (58, None),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "tkill": (200, 130),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "kcmp": (312, 272),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "unshare": (272, 97),
    "setns": (308, 268), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "mount_setattr": (442, 442), "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266),
    "sethostname": (170, 161), "setdomainname": (171, 162), "mknod": (133, None), "mknodat": (259, 33),
    "personality": (135, 92), "vhangup": (153, 58), "fanotify_init": (300, 262), "iopl": (172, None),
    "ioperm": (173, None), "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190),
    "setpgid": (109, 154), "setsid": (112, 157), "setpriority": (141, 140), "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118), "sched_setattr": (314, 274), "ioprio_set": (251, 30), "migrate_pages": (256, 238),
    "move_pages": (279, 239), "process_madvise": (440, 440), "process_mrelease": (448, 448),
    # Landlock asks nothing of these: they would reach every file of the worker's user, outside the work folder too.
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "lchown": (94, None), "fchown": (93, 55), "fchownat": (260, 54),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "setxattrat": (463, 463),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16), "removexattrat": (466, 466),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
    "file_setattr": (469, 469),
}  # fmt: skip
_CLONE = (56, 220)
_CLONE3 = (435, 435)

# columns, whether the process itself may also be named by 0: the first argument must be the process itself
_ON_ITSELF_ALONE: tuple[tuple[tuple[int, int], bool], ...] = (
    ((62, 129), False),  # kill
    ((234, 131), False),  # tgkill
    ((302, 261), True),  # prlimit64
    ((203, 122), True),  # sched_setaffinity
)
# columns, which argument, the values of it that are refused; everything else passes
_PARTS_DENIED: tuple[tuple[tuple[int, int], int, tuple[int, ...]], ...] = (
    ((157, 167), 0, (kernel.PR_SET_PDEATHSIG,)),  # prctl: to outlive the supervisor
    ((72, 25), 1, (8, 10, 15)),  # fcntl F_SETOWN, F_SETSIG, F_SETOWN_EX: a pipe that sends signals to others
    # ioctl FIOSETOWN, SIOCSPGRP: the same; FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR: attributes of files that it may only read
    ((16, 29), 1, (0x8901, 0x8902, 0x40086602, 0x401C5820)),
)

_Row = tuple[int, int, int, int]


class _Instruction(ctypes.Structure):
    _fields_ = [("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("k", ctypes.c_uint32)]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("filter", ctypes.POINTER(_Instruction))]


@dataclass(frozen=True)
class _Machine:
    column: int
    audit_arch: int
    seccomp_call: int


_MACHINES = {
    "x86_64": _Machine(column=0, audit_arch=0xC000003E, seccomp_call=317),
    "aarch64": _Machine(column=1, audit_arch=0xC00000B7, seccomp_call=277),
}


def program(machine_name: str, own_pid: int) -> list[_Row]:
    """Build the filter for `machine_name` as (code, jump if true, jump if false, constant) rows.

    Another architecture kills the process; new processes are refused but threads pass; clone3 answers ENOSYS so
    that the C library falls back to clone, whose flags can be read; signals and limits reach only `own_pid`.
    """
    machine = _MACHINES[machine_name]
    refuse, allow = (_RETURN, 0, 0, _ERRNO | errno.EPERM), (_RETURN, 0, 0, _ALLOW)
    rows = [(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, machine.audit_arch), (_RETURN, 0, 0, _KILL_PROCESS)]
    rows.append((_LOAD, 0, 0, _NUMBER))
    if machine_name == "x86_64":
        rows += [(_AT_LEAST, 0, 1, _X32_BIT), refuse]
    for columns in _DENIED.values():
        number = columns[machine.column]
        if number is not None:
            rows += [(_EQUAL, 0, 1, number), refuse]
    rows += [(_EQUAL, 0, 1, _CLONE3[machine.column]), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]
    rows += [(_EQUAL, 0, 4, _CLONE[machine.column]), (_LOAD, 0, 0, _FIRST_ARGUMENT)]
    rows += [(_AND_SET, 0, 1, _CLONE_THREAD), allow, refuse]
    for columns, or_zero in _ON_ITSELF_ALONE:
        rows += _by_argument(columns[machine.column], 0, (own_pid, 0) if or_zero else (own_pid,), allow, refuse)
    for columns, argument, values in _PARTS_DENIED:
        rows += _by_argument(columns[machine.column], argument, values, refuse, allow)
    return [*rows, allow]


def _by_argument(number: int, argument: int, values: tuple[int, ...], listed: _Row, other: _Row) -> list[_Row]:
    """Return the rows that answer one call by the low word of one argument: `listed` for these values, else `other`."""
    rows: list[_Row] = [(_LOAD, 0, 0, _FIRST_ARGUMENT + argument * _ARGUMENT)]
    for value in values:
        rows += [(_EQUAL, 0, 1, value), listed]
    rows.append(other)
    return [(_EQUAL, 0, len(rows), number), *rows]


def install() -> None:
    """Put the filter on every thread of this process; raises OSError where the kernel or the machine refuses."""
    name = platform.machine()
    if name not in _MACHINES:
        raise OSError(f"no system call table for {name}")
    rows = program(name, os.getpid())
    array = (_Instruction * len(rows))(*(_Instruction(*row) for row in rows))
    handle = _Program(len(rows), array)
    kernel.syscall(
        _MACHINES[name].seccomp_call,
        ctypes.c_uint(_SET_MODE_FILTER),
        ctypes.c_uint(_FLAG_TSYNC),
        ctypes.byref(handle),
    )
