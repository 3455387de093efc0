"""Lock a training child into its work folder. Imports no Django: the child itself runs this.

Two halves, because some steps must precede Python's threads and others must follow the heavy imports. `confine` (before
imports: limits, death signal, no new privileges, own network, Landlock) is called by `compute/sandbox/launch.py`.
`lock_down` (after imports: capabilities, user, system call filter) is called by the runner before it touches data;
alone it does both halves.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import sysconfig
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from compute.sandbox import file_tree, kernel, landlock, seccomp

GIB = 1024**3
EXIT_REFUSED = 71  # EX_OSERR: a layer is missing and the policy is `required`

DEATH_SIGNAL = "death signal"
LIMITS = "resource limits"
NO_NEW_PRIVILEGES = "no new privileges"
NETWORK = "network namespace"
TREE = "own file tree (mount namespace)"
FILES = "file rules (Landlock)"
CAPABILITIES = "no capabilities"
USER = "unprivileged user"
CALLS = "system call filter (seccomp)"

REMEDIES = {
    TREE: "Let this user make user namespaces (user.max_user_namespaces above 0, and on Ubuntu "
    "kernel.apparmor_restrict_unprivileged_userns=0), or this container mount. Without it a job can ask whether a file exists.",
    USER: "Run `make up` as an ordinary user, or put Python and the checkout in a folder that every user may read "
    "(below /opt or /srv, not in a closed home).",
}
"""How an operator can fix a missing layer; most depend on the kernel."""


def explained(layer: str) -> str:
    """Return the name of a missing layer, with how to fix it."""
    return f"{layer}. {REMEDIES[layer]}" if layer in REMEDIES else layer


class SandboxIncomplete(RuntimeError):
    """Sandbox layers are missing on this host and the policy requires all of them."""

    def __init__(self, missing: list[str]) -> None:
        super().__init__(f"sandbox layers missing on this host: {', '.join(missing)}")
        self.missing = missing


@dataclass(frozen=True)
class Policy:
    """Permissions of one attempt. Sizes in bytes.

    `address_space` is None for CUDA, whose driver maps more than any sensible cap; there the supervisor bounds resident
    memory instead. `user` is the uid and gid that the child of a root worker steps down to, None if that user could not
    read Python (`closed_to_others`): then the layer counts as missing. `network`: the process whose network it shares with
    its peers (`compute/agent/peer_network.py`); without one it has none.
    """

    workdir: Path
    read_paths: tuple[Path, ...] = ()
    cuda: bool = False
    address_space: int | None = 8 * GIB
    file_size: int = 4 * GIB
    open_files: int = 256
    threads: int = 512
    user: int | None = None
    network: int | None = None
    required: bool = False


_policy: Policy | None = None
_missing: list[str] = []


def confine(policy: Policy) -> list[str]:
    """Apply the restrictions that must precede any thread; return the names of missing layers.

    Raises SandboxIncomplete if the policy requires every layer.
    """
    global _policy
    _policy = policy
    _missing.clear()
    _layer(DEATH_SIGNAL, _die_with_the_parent)
    _layer(LIMITS, lambda: _limit(policy))
    _layer(NO_NEW_PRIVILEGES, lambda: kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1))
    _layer(NETWORK, lambda: _leave_the_network(policy.network))
    _layer(LIMITS, lambda: _limit_threads(policy))
    _layer(TREE, lambda: _leave_the_file_tree(policy))
    _layer(FILES, lambda: _restrict_files(policy))
    return _answer(policy)


def lock_down(policy: Policy | None = None) -> list[str]:
    """Apply the remaining restrictions after the heavy imports; return the names of all missing layers.

    `policy` defaults to that of `confine`. The list is also sent as one `sandbox` event, so that the supervisor can
    show it. Raises SandboxIncomplete if the policy requires every layer.
    """
    chosen = policy or _policy
    if chosen is None:
        raise ValueError("lock_down needs a policy when confine was not called")
    if _policy is None:
        confine(chosen)
    _layer(USER, lambda: _step_down(chosen))
    _layer(CAPABILITIES, kernel.drop_capabilities)
    _layer(DEATH_SIGNAL, _die_with_the_parent)  # a change of user clears it
    _layer(CALLS, lambda: seccomp.install(cuda=chosen.cuda, peers=chosen.network is not None))
    os.write(1, json.dumps({"type": "sandbox", "missing": _missing}).encode() + b"\n")
    return _answer(chosen)


def _layer(name: str, close: Callable[[], None]) -> None:
    try:
        close()
    except (OSError, ValueError):
        if name not in _missing:
            _missing.append(name)


def _answer(policy: Policy) -> list[str]:
    if _missing and policy.required:
        raise SandboxIncomplete(list(_missing))
    return list(_missing)


def _die_with_the_parent() -> None:
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)


def _limit(policy: Policy) -> None:
    with contextlib.suppress(OSError):  # when the host runs out of memory, children die before shared services
        Path("/proc/self/oom_score_adj").write_text("500")
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: policy.file_size,
        resource.RLIMIT_NOFILE: policy.open_files,
    }
    if policy.address_space is not None and not policy.cuda:
        wanted[resource.RLIMIT_AS] = policy.address_space
    for limit, value in wanted.items():
        hard = resource.getrlimit(limit)[1]
        bounded = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (bounded, bounded))


def _limit_threads(policy: Policy) -> None:
    """Limit the threads of this child if it is counted alone: as a user of its own, or in its own user namespace.

    Elsewhere the kernel counts all processes of its user, or ignores the limit for root; there the supervisor watches.
    """
    if policy.user if os.geteuid() == 0 else NETWORK not in _missing:
        resource.setrlimit(resource.RLIMIT_NPROC, (policy.threads, policy.threads))


def _leave_the_network(peers: int | None) -> None:
    if peers is not None:
        if os.geteuid() != 0:
            kernel.enter_namespace(f"/proc/{peers}/ns/user", kernel.CLONE_NEWUSER)
        kernel.enter_namespace(f"/proc/{peers}/ns/net", kernel.CLONE_NEWNET)
        return
    if os.geteuid() != 0:
        kernel.own_user_namespace()
    kernel.unshare(kernel.CLONE_NEWNET)


def _leave_the_file_tree(policy: Policy) -> None:
    read, devices = _paths(policy)
    file_tree.enter(
        [*read, *devices, Path("/etc/alternatives")], policy.workdir
    )  # links of system libraries point there


def interpreter_paths() -> tuple[Path, ...]:
    """Return the folders of Python and its shared libraries."""
    names = {sys.prefix, sys.base_prefix, sys.exec_prefix, *sysconfig.get_paths().values()}
    return tuple(sorted({Path(name).resolve() for name in names} | {Path(name) for name in names}))


def _restrict_files(policy: Policy) -> None:
    read, devices = _paths(policy)
    landlock.restrict(read=read, write=[policy.workdir], devices=devices, network=policy.network is not None)


def _paths(policy: Policy) -> tuple[list[Path], list[Path]]:
    """Return what a child may read besides its work folder, and the devices that it may open."""
    system = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64", "/usr/share/zoneinfo")
    single: tuple[str, ...] = (
        "/etc/ld.so.cache", "/etc/localtime", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/sys/vm",
        "/proc/sys/kernel/osrelease", "/proc/self", "/sys/devices/system", "/dev/urandom", "/dev/random",
    )  # fmt: skip
    devices = [Path("/dev/null"), Path("/dev/zero")]
    if policy.cuda:
        devices += sorted(Path("/dev").glob("nvidia*"))
        single += ("/proc/driver/nvidia", "/proc/devices", "/sys/module/nvidia", "/sys/bus/pci")
    read = [*interpreter_paths(), *policy.read_paths, *(Path(name) for name in system + single)]
    return read, devices


def _step_down(policy: Policy) -> None:
    if os.geteuid() != 0:
        return
    if policy.user is None:
        raise OSError("no unprivileged user can read Python here")
    os.setgroups([])
    os.setresgid(policy.user, policy.user, policy.user)
    os.setresuid(policy.user, policy.user, policy.user)


def closed_to_others(paths: Iterable[Path]) -> list[Path]:
    """Return the folders among `paths` that an unprivileged user cannot reach or list."""
    return [path for path in paths if path.exists() and not _open_to_others(path.resolve())]


def _open_to_others(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in path.parents) and path.stat().st_mode & 0o005 == 0o005
