"""A system call filter in classic BPF: calls missing from `system_calls.py` are refused with EPERM.

Source: kernel Documentation/userspace-api/seccomp_filter.rst.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass

from compute.sandbox import kernel, system_calls

_SET_MODE_FILTER = 1
_FLAG_TSYNC = 1
_LOAD, _EQUAL, _AT_LEAST, _AND_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCH, _ARGUMENTS, _ARGUMENT = 0, 4, 16, 8
_X32_BIT = 0x40000000

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


def program(machine_name: str, own_pid: int, *, cuda: bool = False, peers: bool = False) -> list[_Row]:
    """Build the filter for `machine_name` as (code, jump if true, jump if false, constant) rows.

    Another architecture kills the process; new processes are refused but threads pass; clone3 returns ENOSYS so that
    the C library falls back to clone, whose flags can be read. Calls newer than our table return ENOSYS too, for the
    same reason. With `peers` it may talk over the network that it is in.
    """
    machine = _MACHINES[machine_name]
    refuse, allow, unknown = (_answer(_ERRNO | errno.EPERM), _answer(_ALLOW), _answer(_ERRNO | errno.ENOSYS))
    rows = [(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, machine.audit_arch), _answer(_KILL_PROCESS), (_LOAD, 0, 0, _NUMBER)]
    if machine_name == "x86_64":
        rows += [(_AT_LEAST, 0, 1, _X32_BIT), refuse]
    rows += [(_AT_LEAST, 0, 1, system_calls.FIRST_UNKNOWN), unknown]
    rows += [(_EQUAL, 0, 1, system_calls.CLONE3[machine.column]), unknown]
    more = (system_calls.CUDA if cuda else {}) | (system_calls.PEERS if peers else {})
    for columns in (system_calls.ALLOWED | more).values():
        number = columns[machine.column]
        if number is not None:
            rows += [(_EQUAL, 0, 1, number), allow]
    rows += [(_EQUAL, 0, 5, system_calls.CLONE[machine.column]), (_LOAD, 0, 0, _ARGUMENTS)]
    rows += [(_AND_SET, 0, 2, system_calls.CLONE_THREAD), (_AND_SET, 0, 1, system_calls.CLONE_FILES), allow, refuse]
    for numbers, conditions in system_calls.conditional(own_pid, cuda=cuda, peers=peers):
        checks = [row for condition in conditions for row in _check(condition, refuse)] + [allow]
        rows += [(_EQUAL, 0, len(checks), numbers[machine.column]), *checks]
    return [*rows, refuse]


def outward_program(machine_name: str) -> list[_Row]:
    """Build the filter of a process that only talks to the internet: all calls pass but the refused ones."""
    machine = _MACHINES[machine_name]
    refuse, allow = _answer(_ERRNO | errno.EPERM), _answer(_ALLOW)
    rows = [(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, machine.audit_arch), _answer(_KILL_PROCESS), (_LOAD, 0, 0, _NUMBER)]
    if machine_name == "x86_64":
        rows += [(_AT_LEAST, 0, 1, _X32_BIT), refuse]
    for columns in system_calls.OUTWARD_REFUSED.values():
        rows += [(_EQUAL, 0, 1, columns[machine.column]), refuse]
    checks = [*_check(system_calls.OneOf(0, system_calls.INTERNET), refuse), allow]
    return [*rows, (_EQUAL, 0, len(checks), system_calls.SOCKET[machine.column]), *checks, allow]


def install_outward() -> None:
    """Install the filter of `outward_program` on every thread of this process; raises OSError."""
    _install(outward_program)


def _answer(what: int) -> _Row:
    return (_RETURN, 0, 0, what)


def _check(condition: system_calls.Condition, refuse: _Row) -> list[_Row]:
    """Return rows that refuse unless the condition holds, and continue otherwise."""
    low = _ARGUMENTS + condition.argument * _ARGUMENT
    if isinstance(condition, system_calls.Null):
        return [(_LOAD, 0, 0, low), (_EQUAL, 1, 0, 0), refuse, (_LOAD, 0, 0, low + 4), (_EQUAL, 1, 0, 0), refuse]
    if isinstance(condition, system_calls.NoneOf):
        return [(_LOAD, 0, 0, low), *(row for value in condition.values for row in ((_EQUAL, 0, 1, value), refuse))]
    left = range(len(condition.values), 0, -1)
    return [(_LOAD, 0, 0, low), *((_EQUAL, n, 0, v) for n, v in zip(left, condition.values, strict=True)), refuse]


def install(*, cuda: bool = False, peers: bool = False) -> None:
    """Install the filter on every thread of this process; raises OSError if the kernel or the machine refuses."""
    _install(lambda name: program(name, os.getpid(), cuda=cuda, peers=peers))


def _install(build: Callable[[str], list[_Row]]) -> None:
    name = platform.machine()
    if name not in _MACHINES:
        raise OSError(f"no system call table for {name}")
    rows = build(name)
    array = (_Instruction * len(rows))(*(_Instruction(*row) for row in rows))
    handle = _Program(len(rows), array)
    kernel.syscall(
        _MACHINES[name].seccomp_call,
        ctypes.c_uint(_SET_MODE_FILTER),
        ctypes.c_uint(_FLAG_TSYNC),
        ctypes.byref(handle),
    )
