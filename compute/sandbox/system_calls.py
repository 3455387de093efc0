"""The system calls that a child may make; all others are refused.

Numbers from the kernel's tables of x86_64 (arch/x86/entry/syscalls/syscall_64.tbl) and of arm64
(include/uapi/asm-generic/unistd.h); None if that architecture has no such call. The list is what Python, torch, numpy
and pyarrow use after import, with the variants that other versions of the C library prefer.
"""

from __future__ import annotations

from dataclasses import dataclass

Columns = tuple[int | None, int | None]

ALLOWED: dict[str, Columns] = {
    # memory
    "brk": (12, 214), "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "mremap": (25, 216),
    "madvise": (28, 233), "mincore": (27, 232), "msync": (26, 227), "get_mempolicy": (239, 236),
    # descriptors
    "read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66), "pread64": (17, 67),
    "pwrite64": (18, 68), "preadv": (295, 69), "pwritev": (296, 70), "preadv2": (327, 286), "pwritev2": (328, 287),
    "lseek": (8, 62), "close": (3, 57), "dup": (32, 23), "dup2": (33, None),
    "dup3": (292, 24), "pipe": (22, None), "pipe2": (293, 59), "fstat": (5, 80), "fsync": (74, 82),
    "fdatasync": (75, 83), "ftruncate": (77, 46), "fallocate": (285, 47), "fadvise64": (221, 223),
    "sendfile": (40, 71), "copy_file_range": (326, 285), "flock": (73, 32), "getdents64": (217, 61),
    "fstatfs": (138, 44), "poll": (7, None), "ppoll": (271, 73), "select": (23, None), "pselect6": (270, 72),
    "epoll_create1": (291, 20), "epoll_ctl": (233, 21), "epoll_wait": (232, None), "epoll_pwait": (281, 22),
    "eventfd2": (290, 19),
    # names
    "open": (2, None), "openat": (257, 56), "openat2": (437, 437), "stat": (4, None), "lstat": (6, None),
    "newfstatat": (262, 79), "statx": (332, 291), "statfs": (137, 43), "access": (21, None), "faccessat": (269, 48),
    "faccessat2": (439, 439), "readlink": (89, None), "readlinkat": (267, 78), "getcwd": (79, 17), "chdir": (80, 49),
    "fchdir": (81, 50), "mkdir": (83, None), "mkdirat": (258, 34), "rmdir": (84, None), "unlink": (87, None),
    "unlinkat": (263, 35), "rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276), "truncate": (76, 45),
    "umask": (95, 166),
    # threads
    "futex": (202, 98), "futex_waitv": (449, 449), "set_robust_list": (273, 99),
    "set_tid_address": (218, 96), "rseq": (334, 293), "membarrier": (324, 283), "arch_prctl": (158, None),
    "sched_yield": (24, 124), "sched_getaffinity": (204, 123),
    "sched_get_priority_max": (146, 125), "sched_get_priority_min": (147, 126),
    "getcpu": (309, 168), "exit": (60, 93), "exit_group": (231, 94),
    # signals
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "rt_sigpending": (127, 136),
    "rt_sigtimedwait": (128, 137), "rt_sigsuspend": (130, 133), "sigaltstack": (131, 132), "pause": (34, None),
    "restart_syscall": (219, 128),
    # clocks
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115), "nanosleep": (35, 101),
    "gettimeofday": (96, 169), "time": (201, None), "times": (100, 153),
    # self
    "getpid": (39, 172), "gettid": (186, 178), "getppid": (110, 173), "getpgrp": (111, None),
    "getuid": (102, 174), "geteuid": (107, 175), "getgid": (104, 176), "getegid": (108, 177),
    "getresuid": (118, 148), "getresgid": (120, 150), "getgroups": (115, 158), "getrlimit": (97, 163),
    "getrusage": (98, 165), "uname": (63, 160), "sysinfo": (99, 179), "getrandom": (318, 278),
}  # fmt: skip

CUDA: dict[str, Columns] = {
    "memfd_create": (319, 279), "mlock": (149, 228), "munlock": (150, 229), "mbind": (237, 235),
    "set_mempolicy": (238, 237),
}  # fmt: skip
"""Calls of the CUDA driver. Never run here."""

PEERS: dict[str, Columns] = {
    "epoll_create": (213, None),
    "connect": (42, 203), "accept": (43, 202), "accept4": (288, 242), "bind": (49, 200), "listen": (50, 201),
    "getsockname": (51, 204), "getpeername": (52, 205), "setsockopt": (54, 208), "getsockopt": (55, 209),
    "sendto": (44, 206), "recvfrom": (45, 207), "sendmsg": (46, 211), "recvmsg": (47, 212), "shutdown": (48, 210),
}  # fmt: skip
"""Calls of the ranks of one job among each other; sockets by their family (`INTERNET`)."""

OUTWARD_REFUSED: dict[str, tuple[int, int]] = {
    # other programs and processes
    "execve": (59, 221), "execveat": (322, 281), "kill": (62, 129), "tkill": (200, 130), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    # ways around this filter, and into the kernel
    "io_uring_setup": (425, 425), "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "bpf": (321, 280),
    "userfaultfd": (323, 282), "perf_event_open": (298, 241),
}  # fmt: skip
"""Refused to a process that only talks to the internet; everything else passes, sockets by their family."""

SOCKET = (41, 198)
INTERNET = (2, 10, 16)
"""AF_INET, AF_INET6, and AF_NETLINK, by which the C library learns the addresses of this machine."""

CLONE_FILES, CLONE_THREAD = 0x400, 0x10000
"""A new thread shares the descriptors, so the supervisor sees what it opens."""

CLONE, CLONE3 = (56, 220), (435, 435)
FIRST_UNKNOWN = 470
"""Calls from here on are newer than this table and return ENOSYS, as on a kernel without them."""


@dataclass(frozen=True)
class OneOf:
    """The low word of this argument is one of `values`."""

    argument: int
    values: tuple[int, ...]


@dataclass(frozen=True)
class NoneOf:
    """The low word of this argument is none of `values`."""

    argument: int
    values: tuple[int, ...]


@dataclass(frozen=True)
class Null:
    """This argument is a null pointer."""

    argument: int


Condition = OneOf | NoneOf | Null

_KILL, _TERM = 9, 15
_TERMINAL_READ, _WINDOW_SIZE, _AVAILABLE, _NONBLOCKING, _INHERITED, _NOT_INHERITED = (
    0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451,
)  # fmt: skip


def conditional(
    own_pid: int, *, cuda: bool, peers: bool = False
) -> list[tuple[tuple[int, int], tuple[Condition, ...]]]:
    """Return the calls that are allowed for some arguments only.

    Signals reach only the process itself, except those that hosts use to end processes: a child that dies of one was
    killed from outside. Its limits can be read, not set, because the kernel kills a process over its processor time
    limit.
    """
    # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, locks, F_DUPFD_CLOEXEC, pipe sizes, seals: nothing that sends signals
    fcntl = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1031, 1032, 1033, 1034)
    # PR_GET_DUMPABLE, PR_SET_NAME, PR_GET_NAME, PR_GET_SECCOMP, PR_CAPBSET_READ, PR_GET_NO_NEW_PRIVS, PR_SVE_GET_VL,
    # PR_SET_VMA (names of memory)
    prctl = (3, 15, 16, 21, 23, 39, 51, 0x53564D41)
    ioctl: Condition = OneOf(1, (_TERMINAL_READ, _WINDOW_SIZE, _AVAILABLE, _NONBLOCKING, _INHERITED, _NOT_INHERITED))
    if cuda:  # the driver's own numbers are many; none of FIOSETOWN, SIOCSPGRP, FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR
        ioctl = NoneOf(1, (0x8901, 0x8902, 0x40086602, 0x401C5820))
    sockets = [(SOCKET, (OneOf(0, INTERNET),))] if peers else []
    return [
        *sockets,
        ((62, 129), (OneOf(0, (own_pid,)), NoneOf(1, (_KILL, _TERM)))),  # kill
        ((234, 131), (OneOf(0, (own_pid,)), NoneOf(2, (_KILL, _TERM)))),  # tgkill
        ((302, 261), (OneOf(0, (own_pid, 0)), Null(2))),  # prlimit64
        ((203, 122), (OneOf(0, (own_pid, 0)),)),  # sched_setaffinity
        ((157, 167), (OneOf(0, prctl),)),
        ((436, 436), (OneOf(2, (0, 4)),)),  # close_range, not with a table of descriptors of its own
        ((72, 25), (OneOf(1, fcntl),)),
        ((16, 29), (ioctl,)),
    ]
