"""An encrypted connection between two hosts that run ranks of one attempt: messages, folders, and the ranks' packets.

One frame is its kind, its length and its body. A side that receives nothing for `silence_s` drops the connection at once, with
all that it still had to send: so the other side receives nothing later, and may count on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import queue
import socket
import ssl
import struct
import tarfile
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

MESSAGE, FOLDER, PACKET = b"m", b"f", b"p"
HEAD = struct.Struct("!cI")
MOST = 1 << 20
"""The most bytes of a frame."""
BEHIND = 8 << 20
"""Bytes that may wait to be sent before packets are dropped: the ranks' own connections send those again."""

AT_ONCE = 64
"""Packets read before anything else gets its turn."""

Message = dict[str, Any]


class Link:
    """One end of a connection. `inbox` gets its messages, and None when it is lost; `folders` what was sent before them."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        silence_s: float,
        route: Callable[[bytes], None],
        spool: Path,
    ) -> None:
        self.inbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self.folders: deque[IO[bytes]] = deque()
        self.lost = threading.Event()
        self._reader, self._writer, self._route, self._spool = reader, writer, route, spool
        self._silence_s = silence_s
        self._packets: int | None = None
        self._loop = asyncio.get_running_loop()

    async def receive(self) -> None:
        """Take frames until the connection is lost."""
        pulse = asyncio.create_task(self._beat())
        coming: IO[bytes] | None = None
        try:
            while True:
                async with asyncio.timeout(self._silence_s):
                    kind, body = await read_frame(self._reader)
                if kind == PACKET:
                    self._route(body)
                elif kind == FOLDER:
                    coming = coming or tempfile.TemporaryFile(dir=self._spool)  # noqa: SIM115 (its taker closes it)
                    coming.write(body)
                    if not body:
                        self.folders.append(coming)
                        coming = None
                elif message := json.loads(body):
                    self.inbox.put(message)
        except (OSError, EOFError, TimeoutError, ValueError):
            pass  # whatever it was, this connection is of no use any more
        finally:
            pulse.cancel()
            if self._packets is not None:
                self._loop.remove_reader(self._packets)
            if coming is not None:
                coming.close()
            self.drop()
            self.lost.set()
            self.inbox.put(None)

    async def _beat(self) -> None:
        while True:
            self.write(MESSAGE, b"{}")
            await asyncio.sleep(self._silence_s / 5)

    def write(self, kind: bytes, body: bytes) -> None:
        """Send a frame; in the loop's thread alone."""
        if kind == PACKET and self._writer.transport.get_write_buffer_size() > BEHIND:
            return
        if not self._writer.is_closing():
            self._writer.write(HEAD.pack(kind, len(body)) + body)

    def send(self, message: Message) -> None:
        """Send a message from any thread; lost with the connection."""
        body = json.dumps(message, default=str).encode()
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self.write, MESSAGE, body)

    def carry(self, packets: int | None) -> None:
        """Send the packets that an interface gives, from any thread, until the connection is lost."""
        if packets is not None:
            self._packets = packets
            self._loop.call_soon_threadsafe(self._loop.add_reader, packets, self._take_packets, packets)

    def _take_packets(self, packets: int) -> None:
        for _ in range(AT_ONCE):
            try:
                packet = os.read(packets, MOST)
            except OSError:
                return
            self.write(PACKET, packet)

    def send_folder(self, folder: Path, patience_s: float = 600.0) -> None:
        """Send the plain files of a folder from any thread; returns when they are sent. Raises OSError."""
        with tempfile.TemporaryFile(dir=self._spool) as packed:
            with tarfile.open(fileobj=packed, mode="w") as archive:
                archive.add(folder, arcname=".")
            packed.seek(0)
            task = asyncio.run_coroutine_threadsafe(self._stream(packed), self._loop)
            try:
                task.result(patience_s)
            except TimeoutError as error:
                task.cancel()
                raise OSError("the other host takes the files too slowly") from error

    async def _stream(self, packed: IO[bytes]) -> None:
        while block := packed.read(MOST):
            self.write(FOLDER, block)
            await self._writer.drain()
            if self.lost.is_set():
                raise ConnectionError("the connection to the other host was lost")
        self.write(FOLDER, b"")

    def abort(self) -> None:
        """Drop the connection, from any thread."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.drop)

    def drop(self) -> None:
        """Drop the connection without sending what waits; in the loop's thread alone."""
        plain = self._writer.get_extra_info("socket")
        if plain is not None:
            with contextlib.suppress(OSError):
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


async def read_frame(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Read one frame. Raises EOFError at the end, ValueError for one that is too long."""
    kind, length = HEAD.unpack(await reader.readexactly(HEAD.size))
    if length > MOST:
        raise ValueError("a frame is too long")
    return kind, await reader.readexactly(length)


def unpack(packed: IO[bytes], folder: Path) -> None:
    """Write a folder that was sent; closes it. Raises OSError or TarError."""
    with packed:
        packed.seek(0)
        with tarfile.open(fileobj=packed) as archive:
            archive.extractall(folder, filter="data")


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True, name="links")
        self._thread.start()

    def run(self, work: Any, timeout: float | None = None) -> Any:
        """Run a coroutine there; return its result or raise its error."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout)

    def close(self) -> None:
        """End the loop; what still runs in it is cancelled."""

        async def end() -> None:
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        self.run(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


def tls(context: ssl.SSLContext) -> ssl.SSLContext:
    """Return the context with the one version of TLS that both ends speak."""
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context
