"""Run the ranks of an attempt that another host leads.

It meets that host, gets input and checkpoint from it, and starts, stops and ends ranks on its orders. The ranks end at once when
the connection is lost, and when the attempt's lease has expired by this process's own clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import queue
import ssl
import tarfile
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection

from compute import kinds, procfs
from compute.agent.gang import start_rank
from compute.agent.heartbeat import beside
from compute.agent.link import MESSAGE, Link, Loop, Message, tls, unpack
from compute.agent.peer_network import PeerNetwork
from compute.devices.base import DeviceLost, Sampler
from compute.leases import parts
from compute.pg_session import AWAY
from compute.sandbox import excess, protocol, workdirs
from compute.sandbox.process import Child, Member

log = structlog.get_logger(__name__)
CONNECT_S = 10.0


class RankHost:
    """One part of an attempt. `wake()` makes it look at the attempt now; `shut_down()` has the whole job stop."""

    def __init__(self, part: parts.Part, sampler: Sampler, home: Path) -> None:
        self.part = part
        self.log = log.bind(job=str(part.job_id), attempt=str(part.attempt_id), ranks=sorted(part.ranks))
        self._sampler, self._home = sampler, home
        self._base = home / f"{part.attempt_id}.part"
        self._ran: set[int] = set()
        self._children: dict[int, Child] = {}
        self._told: set[int] = set()
        self._network: PeerNetwork | None = None
        self._link: Link | None = None
        self._leaving, self._wake = threading.Event(), threading.Event()
        self._deadline = time.monotonic() + settings.EXCHEQUER.lease_s + CONNECT_S
        self._looking: Future[parts.Sight | None] | None = None
        self._look_at = self._sampled = 0.0
        self._rendezvous: dict[str, Any] = {}
        self._over = False
        self._receiving: asyncio.Task[None] | None = None

    @property
    def job_id(self) -> UUID:
        """Return the job."""
        return self.part.job_id

    def wake(self) -> None:
        """Look at the attempt now."""
        self._wake.set()

    def shut_down(self) -> None:
        """Ask the leading host to stop the job with a checkpoint: this worker stops, or one of its devices has a fault."""
        self._leaving.set()
        self._wake.set()

    def holds(self, device: str) -> bool:
        """Return whether a rank here has this device."""
        return any(slot.uuid == device for slot in self.part.ranks.values())

    def run(self) -> None:
        """Run the ranks to the attempt's end; never raises for a lost connection or a failing rank."""
        loop = Loop()
        self.log.info("part.started")
        try:
            while not self._over:
                self._look()
                if self._rendezvous and not self._over:
                    self._meet(loop)
                time.sleep(0.1)
        finally:
            self._end_ranks()
            loop.close()
            if self._network is not None:
                self._network.close()
            for folder in (self._base, *(self._folder(rank) for rank in self._ran)):
                workdirs.remove(folder)
            connection.close_if_unusable_or_obsolete()
        self.log.info("part.ended")

    def _look(self) -> None:
        """Look at the lease now and then, in a thread: the database may be away. Past its end, all is over."""
        now = time.monotonic()
        if self._looking is not None and self._looking.done():
            asked, self._looking = self._looking, None
            try:
                sight = asked.result()
            except AWAY:
                self.log.warning("part.database_away")
            else:
                if sight is None:
                    self._over = True
                elif sight.left_s is not None:
                    self._rendezvous, self._deadline = sight.rendezvous, self._look_at + sight.left_s
        due = self._look_at + (settings.EXCHEQUER.heartbeat_s if self._rendezvous else 0.3)
        if self._looking is None and (now >= due or self._wake.is_set()):
            self._wake.clear()
            self._look_at, self._looking = now, beside(lambda: parts.look(self.part))
        self._over = self._over or now > self._deadline

    def _meet(self, loop: Loop) -> None:
        """Connect to the leading host and serve it until the connection is lost."""
        try:
            link = self._link = loop.run(self._connect(), 2 * CONNECT_S)
        except (OSError, TimeoutError, ValueError, KeyError) as error:
            self.log.warning("part.not_connected", error=str(error))
            self._rendezvous = {}  # it may have changed
            return
        try:
            self._serve(link)
        finally:
            link.abort()
            self._end_ranks()  # before it connects again: the leading host counts on it
            self._link = None

    async def _connect(self) -> Link:
        at = self._rendezvous
        context = tls(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        context.check_hostname = False  # the certificate itself is known, whatever the host's name
        context.load_verify_locations(cadata=at["certificate"])
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(at["host"], at["port"], ssl=context)
        silence = settings.EXCHEQUER.lease_s / 3
        link = Link(reader, writer, silence_s=silence, route=self._bring_in, spool=self._home)
        link.write(MESSAGE, json.dumps({"node": self.part.node, "secret": at["secret"]}).encode())
        self._receiving = asyncio.create_task(link.receive())
        return link

    def _bring_in(self, packet: bytes) -> None:
        if self._network is not None and self._network.packets is not None:
            with contextlib.suppress(OSError):
                os.write(self._network.packets, packet)

    def _serve(self, link: Link) -> None:
        said_leaving = False
        while not self._over and not link.lost.is_set():
            try:
                message = link.inbox.get(timeout=0.05)
            except queue.Empty:
                message = {}
            if message is None:
                return
            self._obey(link, message)
            if self._leaving.is_set() and not said_leaving:
                link.send({"say": "leaving"})
                said_leaving = True
            self._report(link)
            self._look()

    def _obey(self, link: Link, message: Message) -> None:
        """Do what the leading host asks."""
        rank = int(message.get("rank", -1))
        child = self._children.get(rank)
        match message.get("do"):
            case "welcome":
                self._network = self._network or PeerNetwork(int(message["host"]))
                link.carry(self._network.packets)
            case "folder":
                self._keep(link, str(message["name"]))
            case "start" if rank in self.part.ranks:
                self._start(link, rank, message["payload"])
            case "stop" if child is not None:
                child.ask_to_stop()
            case "kill" if child is not None:
                child.kill()
            case "end":
                self._over = True

    def _keep(self, link: Link, name: str) -> None:
        """Keep a folder that was sent for the ranks here."""
        if name not in {"in", "checkpoint"}:
            return
        self._base.mkdir(mode=0o700, exist_ok=True)
        workdirs.remove(self._base / name)
        (self._base / name).mkdir()
        with contextlib.suppress(tarfile.TarError):
            unpack(link.folders.popleft(), self._base / name)

    def _start(self, link: Link, rank: int, payload: dict[str, Any]) -> None:
        slot, folder = self.part.ranks[rank], self._folder(rank)
        checkpoint = self._base / "checkpoint"
        common = {
            "entrypoint": kinds.get(self.part.kind).entrypoint,
            "attempt": str(self.part.attempt_id),
            "sandbox_required": settings.EXCHEQUER.sandbox == "required",
        }
        try:
            if self._network is None:
                raise OSError("there is no network yet")
            placed = dataclasses.replace(slot, network=self._network.pid, interface=self._network.interface)
            workdirs.lay_out(
                folder, self._base / "in", checkpoint if payload["resume"] else None, again=rank in self._ran
            )
            self._ran.add(rank)
            self._children[rank] = start_rank(common, folder, placed, payload)
            self._told.discard(rank)
        except OSError:
            self.log.exception("part.rank_not_started", rank=rank)
            link.send({"say": "exited", "rank": rank, "exit": -9, "peak": 0})

    def _folder(self, rank: int) -> Path:
        return self._home / f"{self.part.attempt_id}.{rank}"

    def _report(self, link: Link) -> None:
        """Say which ranks ended and why, and, with each heartbeat, how busy their devices were."""
        for rank, child in self._children.items():
            while child.said:
                report = child.said.popleft()
                if isinstance(report, protocol.Fault):
                    link.send({"say": "fault", "rank": rank, "code": report.code, "message": report.message})
            child.lines.clear()
            if child.exited.is_set():
                if rank not in self._told:
                    self._told.add(rank)
                    link.send({"say": "exited", "rank": rank, "exit": child.exit_code, "peak": child.peak_bytes})
            elif over := excess.of_threads(self.part.ranks[rank], child.group):
                link.send({"say": "excess", "message": over})
                child.kill()
        now = time.monotonic()
        if now - self._sampled >= settings.EXCHEQUER.heartbeat_s:
            for rank, child in self._children.items():
                if not child.exited.is_set():
                    self._sample(link, rank, child.members[0], min(now - self._sampled, now - child.began))
            self._sampled = now

    def _sample(self, link: Link, rank: int, member: Member, seconds: float) -> None:
        slot = member.slot
        try:
            reading = self._sampler.read(slot.uuid, member.group)
        except DeviceLost as lost:
            self.log.warning("device.lost", error=str(lost))
            return
        memory = reading.memory_bytes if slot.kind == "cpu" else procfs.group_use(member.group)[1]
        if over := excess.of_memory_or_disk(slot, memory, member.workdir, member.group):
            link.send({"say": "excess", "message": over})
            self._children[rank].kill()
        link.send({
            "say": "sample", "rank": rank, "seconds": seconds, "busy": reading.busy,
            "memory_bytes": reading.memory_bytes, "power_w": reading.power_w,
        })  # fmt: skip

    def _end_ranks(self) -> None:
        for child in self._children.values():
            child.kill()
        self._children.clear()
