"""Where the hosts of one attempt meet: the side of the host with rank 0.

It listens with a certificate made for this attempt. The others learn address, certificate and secret from the attempt's row.
Packets between two other hosts pass through here.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import os
import secrets
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog

from compute.agent.certificate import certified
from compute.agent.link import AT_ONCE, MESSAGE, PACKET, Link, Loop, Message, read_frame
from compute.agent.peer_network import PeerNetwork
from compute.agent.remote_rank import RemoteRank

log = structlog.get_logger(__name__)

HELLO_S = 10.0
"""How long one who connects may take to say who it is."""
MOST_STRANGERS = 16


class Meeting:
    """The attempt's other hosts. `ranks`: the ranks of each of them by its name."""

    def __init__(
        self,
        *,
        network: PeerNetwork,
        ranks: Mapping[str, Sequence[int]],
        bind: tuple[str, Sequence[int]],
        silence_s: float,
        spool: Path,
    ) -> None:
        """Listen at an address, on the first free of the ports (0: any); raises OSError if it cannot."""
        self.network, self._spool, self._silence_s = network, spool, silence_s
        self._hosts = {name: number for number, name in enumerate(ranks, start=2)}
        self._of = {rank: name for name, theirs in ranks.items() for rank in theirs}
        self._links: dict[str, Link] = {}
        self._started: dict[int, RemoteRank] = {}
        self._sent: set[Link] = set()
        self.samples: deque[Message] = deque()
        self.excess, self.leaving = "", False
        self.changed = threading.Event()
        self._secret = secrets.token_urlsafe(32)
        self._strangers = 0
        certificate, context = certified()
        self._loop = Loop()
        try:
            self._server = self._loop.run(self._listen(*bind, context))
        except BaseException:
            self._loop.close()
            raise
        port = self._server.sockets[0].getsockname()[1]
        self.rendezvous = {"host": bind[0], "port": port, "certificate": certificate, "secret": self._secret}

    @property
    def ranks(self) -> list[int]:
        """Return the ranks of the other hosts."""
        return sorted(self._of)

    def missing(self) -> list[str]:
        """Return the names of hosts that are not here."""
        return [name for name in self._hosts if name not in self._links or self._links[name].lost.is_set()]

    def gather(self, patience_s: float, given_up: Callable[[], bool]) -> None:
        """Wait until all hosts are here; raises OSError if one does not come in time, or it was given up."""
        late = time.monotonic() + patience_s
        while missing := self.missing():
            if time.monotonic() > late or given_up():
                raise OSError(f"of this job's hosts, these did not come: {', '.join(missing)}")
            time.sleep(0.02)

    def hand_out(self, given: Path, checkpoint: Path | None) -> None:
        """Send the input to each host that does not have it, and the checkpoint to all. Raises OSError."""
        for link in self._links.values():
            if link not in self._sent:
                self._send(link, "in", given)
                self._sent.add(link)
            if checkpoint is not None:
                self._send(link, "checkpoint", checkpoint)

    def _send(self, link: Link, name: str, folder: Path) -> None:
        link.send_folder(folder)
        link.send({"do": "folder", "name": name})

    def start(self, rank: int, payload: dict[str, Any]) -> RemoteRank:
        """Start a rank on its host."""
        link = self._links[self._of[rank]]
        remote = self._started[rank] = RemoteRank(rank, link, self.changed, patience_s=3 * self._silence_s)
        link.send({"do": "start", "rank": rank, "payload": payload})
        if link.lost.is_set():
            self._settle_later(link)
        return remote

    def close(self) -> None:
        """Let all hosts go, which end what still runs, and the network."""
        for link in self._links.values():
            link.send({"do": "end"})
        with contextlib.suppress(Exception):
            self._loop.run(self._end(), 5)
        self._loop.close()
        self.network.close()

    async def _listen(self, host: str, ports: Sequence[int], context: ssl.SSLContext) -> asyncio.Server:
        if self.network.packets is not None:
            asyncio.get_running_loop().add_reader(self.network.packets, self._leave_here, self.network.packets)
        refused = OSError("no port is given")
        for port in ports:
            try:
                return await asyncio.start_server(self._greet, host, port, ssl=context, ssl_handshake_timeout=HELLO_S)
            except OSError as error:
                refused = error
        raise refused

    async def _end(self) -> None:
        if self.network.packets is not None:
            asyncio.get_running_loop().remove_reader(self.network.packets)
        self._server.close()
        await asyncio.sleep(0.05)  # for the last messages
        for link in self._links.values():
            link.drop()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a host that knows the secret; drop anyone else."""
        if self._strangers >= MOST_STRANGERS:
            writer.transport.abort()
            return
        self._strangers += 1
        try:
            async with asyncio.timeout(HELLO_S):
                _, body = await read_frame(reader)
            hello = json.loads(body)
            name, secret = str(hello["node"]), str(hello["secret"])
        except (OSError, EOFError, TimeoutError, ValueError, KeyError, TypeError):
            name, secret = "", ""
        finally:
            self._strangers -= 1
        if name not in self._hosts or not hmac.compare_digest(secret.encode(), self._secret.encode()):
            log.warning("meeting.stranger_refused")
            writer.transport.abort()
            return
        if (before := self._links.get(name)) is not None:
            before.drop()
            self._settle(before)  # it comes again: what it ran before has ended
        number = self._hosts[name]
        link = Link(
            reader, writer, silence_s=self._silence_s, spool=self._spool, route=lambda one: self._pass_on(one, number)
        )
        self._links[name] = link
        link.write(MESSAGE, json.dumps({"do": "welcome", "host": number}).encode())
        threading.Thread(target=self._follow, args=(link,), daemon=True, name="follow").start()
        await link.receive()
        self._settle_later(link)

    def _follow(self, link: Link) -> None:
        """Take what a host says of its ranks, until it is lost."""
        while (message := link.inbox.get()) is not None:
            match message.get("say"):
                case "sample":
                    self.samples.append(message)
                case "excess":
                    self.excess = self.excess or str(message["message"])
                case "leaving":
                    self.leaving = True
                case _:
                    rank = self._started.get(int(message.get("rank", -1)))
                    if rank is not None and rank.link is link:
                        rank.take(message)
            self.changed.set()

    def _settle_later(self, link: Link) -> None:
        """Count the ranks of a lost host as ended once it has surely noticed, and ended them."""
        with contextlib.suppress(RuntimeError):
            self._loop.loop.call_soon_threadsafe(self._loop.loop.call_later, self._silence_s + 2.0, self._settle, link)

    def _settle(self, link: Link) -> None:
        for rank in self._started.values():
            if rank.link is link:
                rank.lose()

    def _leave_here(self, packets: int) -> None:
        """Send on the packets of the ranks here."""
        for _ in range(AT_ONCE):
            try:
                packet = os.read(packets, 65536)
            except OSError:
                return
            self._pass_on(packet, 1)

    def _pass_on(self, packet: bytes, sender: int) -> None:
        """Carry a packet between hosts of this job; drop any other, and one with a false sender."""
        way = way_of(packet)
        if way is None or way[0] != sender:
            return
        if way[1] == 1:
            if sender != 1 and self.network.packets is not None:
                with contextlib.suppress(OSError):
                    os.write(self.network.packets, packet)
            return
        for name, number in self._hosts.items():
            if number == way[1] and name in self._links:
                self._links[name].write(PACKET, packet)


def way_of(packet: bytes) -> tuple[int, int] | None:
    """Return the numbers of the hosts that an IPv4 packet comes from and goes to; None if it is none of a job's."""
    if len(packet) < 20 or packet[0] >> 4 != 4:
        return None
    start = bytes((10, 213, 0))
    if packet[12:15] != start or packet[16:19] != start:
        return None
    return packet[15], packet[19]
