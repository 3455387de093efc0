"""The ranks of a job on several devices, of this host and of others, seen as one child.

Each rank is a process on its own device and in its own folder. All share a network without a way out. If one is lost, all
start again from the last checkpoint, on the same devices; the time goes on. Rank 0, always here, speaks for all.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from compute.agent.meeting import Meeting
from compute.agent.peer_network import PeerNetwork, address_of
from compute.agent.remote_rank import RemoteRank
from compute.sandbox import protocol, workdirs
from compute.sandbox.process import Child, Member, Slot

log = structlog.get_logger(__name__)

MOST_RESTARTS = 3
"""How often a lost rank is made good within one attempt."""

PORT = 29500
"""Where rank 0 listens, on a network of the ranks alone."""

DONE, STOPPED, FINAL = 0, 75, frozenset({65, 69, 71})
"""Exit codes of a rank: done; stopped on request; and those that a restart does not change."""

RETURN_S = 30.0
"""How long a lost host may take to come back."""

SETTLE_S = 10.0
"""How long the other ranks may take to end once one is done."""


class Gang:
    """Several children, with the interface of one."""

    def __init__(
        self,
        *,
        entrypoint: Path,
        workdir: Path,
        slots: Mapping[int, Slot],
        payload: dict[str, Any],
        sandbox_required: bool,
        meeting: Meeting | None = None,
    ) -> None:
        """Start a rank on each of the slots here, and those of the hosts that met; raises OSError if one cannot be started.

        The hosts have the input and checkpoint already. The meeting, if given, is closed at the end.
        """
        self._common: dict[str, Any] = {
            "entrypoint": entrypoint, "attempt": str(payload["attempt"]), "sandbox_required": sandbox_required,
        }  # fmt: skip
        self._slots, self._payload, self._meeting = dict(slots), payload, meeting
        self._count = len(slots) + (len(meeting.ranks) if meeting else 0)
        self._folders = {rank: workdir.with_name(f"{workdir.name}.{rank}") if rank else workdir for rank in slots}
        self.lines: deque[str] = deque()
        self._said: deque[protocol.Report] = deque()
        self._faults: dict[int, protocol.Fault] = {}
        self.exited, self.changed = threading.Event(), threading.Event()
        self.exit_code: int | None = None
        self.peak_bytes = 0
        self.startup_s: float | None = None
        self._ended_at: float | None = None
        self._asked = self._killed = False
        self._lock = threading.Lock()
        self._network = meeting.network if meeting else PeerNetwork()
        self._ranks: list[Child | RemoteRank] = []
        self._group, self.began = 0, time.monotonic()
        try:
            self._start()
        except BaseException:
            self._end_ranks()
            self._clean()
            raise
        threading.Thread(target=self._watch, daemon=True, name="gang").start()

    @property
    def group(self) -> int:
        """Return the process group of rank 0."""
        return self._group

    @property
    def members(self) -> tuple[Member, ...]:
        """Return the process of each rank that runs, on its device."""
        with self._lock:
            return tuple(member for rank in self._ranks for member in rank.members if not rank.exited.is_set())

    @property
    def said(self) -> deque[protocol.Report]:
        """Return what rank 0 reports. Why a rank failed follows at the end: until then it may be made good."""
        with self._lock:
            for number, rank in enumerate(self._ranks):
                self._take_reports(number, rank)
        return self._said

    def elapsed(self) -> float:
        """Return the seconds from the first start to now, or to the end."""
        return (self._ended_at or time.monotonic()) - self.began

    def ask_to_stop(self) -> None:
        """Ask all ranks to save a checkpoint and exit."""
        self._asked = True
        for rank in self._ranks:
            rank.ask_to_stop()

    def kill(self) -> None:
        """Kill all ranks; returns when they are gone."""
        self._killed = True
        self._end_ranks()
        self.exited.wait(10)

    def _start(self) -> None:
        again = bool(self._ranks)
        if self._meeting is not None:
            self._meeting.gather(RETURN_S, lambda: self._asked or self._killed)
        resume = self._hand_out(again=again)
        if not again:
            self.began = time.monotonic()
        ranks: list[Child | RemoteRank] = []
        self._ranks = ranks
        host = "127.0.0.1" if self._meeting is None else address_of(1)
        for number in range(self._count):
            gang = {"rank": number, "ranks": self._count, "host": host, "port": PORT}
            payload = {**self._payload, "gang": gang, "resume": resume}
            if (slot := self._slots.get(number)) is None:
                ranks.append(self._elsewhere(number, payload))
                continue
            placed = replace(slot, network=self._network.pid, interface=self._network.interface)
            child = start_rank(self._common, self._folders[number], placed, payload)
            child.changed = self.changed
            ranks.append(child)
            self._group = self._group if number else child.group

    def _elsewhere(self, number: int, payload: dict[str, Any]) -> RemoteRank:
        if self._meeting is None:
            raise ValueError(f"rank {number} has no device")
        rank = self._meeting.start(number, payload)
        rank.changed = self.changed
        return rank

    def _hand_out(self, *, again: bool) -> bool:
        """Give every rank the input, and the checkpoint to start from; return whether there is one.

        The ranks' own folders are not to be trusted once they ran: their input stays as it is, and what is handed on is a
        copy of plain files.
        """
        first = self._folders[0]
        taken = workdirs.copy_checkpoint(first, 0) if (first / "checkpoint").is_dir() else None
        try:
            for folder in self._folders.values():
                if folder != first:
                    workdirs.lay_out(folder, first / "in", taken, again=again)
            if self._meeting is not None and again:  # the supervisor did, before the first start
                self._meeting.hand_out(first / "in", taken)
        finally:
            if taken is not None:
                workdirs.remove(taken)
        return taken is not None

    def _watch(self) -> None:
        restarts = 0
        while True:
            lost = self._wait()
            if lost is None or self._asked or self._killed or restarts == MOST_RESTARTS:
                break
            code = self._ranks[lost].exit_code
            if code in FINAL:
                break
            restarts += 1
            log.warning("gang.rank_lost", rank=lost, exit_code=code, restarts=restarts)
            with self._lock:
                self._gather()
                self.lines.append(f"rank {lost} was lost: all ranks start again from the last checkpoint")
                self._faults.clear()
                try:
                    self._start()
                except OSError:
                    log.exception("gang.restart_failed")
                    self._end_ranks()
                    break
            self._repeat_requests()
        self._settle(lost)

    def _repeat_requests(self) -> None:
        """Pass on to new ranks what was asked of those before them."""
        if self._killed:
            self._end_ranks()
        elif self._asked:
            self.ask_to_stop()

    def _wait(self) -> int | None:
        """Wait until all ranks have ended; return the first that failed, None if none did."""
        lost: int | None = None
        leave_by = float("inf")
        while not all(rank.exited.is_set() for rank in self._ranks):
            time.sleep(0.02)
            if lost is None:
                lost = self._failed()
                if lost is not None and not self._asked:
                    self._end_ranks()
            if self._ranks[0].exited.is_set() and leave_by == float("inf"):
                leave_by = time.monotonic() + SETTLE_S
            if time.monotonic() > leave_by:
                self._end_ranks()
        if lost is None and self._ranks[0].exit_code != DONE:  # it wrote the result of all
            lost = self._failed()
        return lost

    def _failed(self) -> int | None:
        ended = [number for number, rank in enumerate(self._ranks) if rank.exited.is_set()]
        return next((number for number in ended if self._ranks[number].exit_code not in {DONE, STOPPED}), None)

    def _settle(self, lost: int | None) -> None:
        """Take the last reports, and the exit code that speaks for all."""
        self._ended_at = time.monotonic()
        codes = [rank.exit_code for rank in self._ranks]
        with self._lock:
            self._gather()
            if lost in self._faults:
                self._said.append(self._faults[lost])
        self.peak_bytes = max(rank.peak_bytes for rank in self._ranks)
        if self._asked and STOPPED in codes:
            self.exit_code = STOPPED
        else:
            self.exit_code = codes[0] if lost is None else codes[lost]
        self._clean()
        self.exited.set()
        self.changed.set()

    @property
    def excess(self) -> str:
        """Return for what a rank of another host was ended, or nothing."""
        return self._meeting.excess if self._meeting else ""

    @property
    def leaving(self) -> bool:
        """Return whether another host stops, so that the job has to."""
        return self._meeting is not None and self._meeting.leaving

    def samples(self) -> list[dict[str, Any]]:
        """Return the samples of other hosts' devices since the last call."""
        taken = []
        while self._meeting is not None and self._meeting.samples:
            taken.append(self._meeting.samples.popleft())
        return taken

    def _gather(self) -> None:
        for number, rank in enumerate(self._ranks):
            self._take_reports(number, rank)

    def _take_reports(self, number: int, rank: Child | RemoteRank) -> None:
        while rank.said:
            report = rank.said.popleft()
            if isinstance(report, protocol.Fault):
                self._faults.setdefault(number, report)
            elif number == 0:
                self._said.append(report)
        while rank.lines:
            line = rank.lines.popleft()
            if number == 0:
                self.lines.append(line)
        if number == 0 and self.startup_s is None:
            self.startup_s = rank.startup_s

    def _end_ranks(self) -> None:
        for rank in list(self._ranks):
            rank.kill()

    def _clean(self) -> None:
        (self._meeting or self._network).close()
        for rank, folder in self._folders.items():
            if rank:
                workdirs.remove(folder)


def start_rank(common: Mapping[str, Any], folder: Path, slot: Slot, payload: Mapping[str, Any]) -> Child:
    """Start one rank on its device of this host; raises OSError."""
    own = {"device": {"kind": slot.kind, "uuid": slot.uuid}, "threads": slot.threads}
    return Child(**common, workdir=folder, slot=slot, payload={**payload, **own})
