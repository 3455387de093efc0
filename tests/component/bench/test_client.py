"""The benchmarks' client against a real server on loopback."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from bench.load import Seen
from bench.servers import ask


def test_the_client_counts_good_answers_and_calls_again_when_the_server_closes() -> None:
    from bench.client import run

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def both() -> Seen:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        seen = await run(port, ask("GET", "/"), connections=2, seconds=2, slow=3)
        server.close()
        await asyncio.sleep(0.1)
        return seen

    with ThreadPoolExecutor(1) as elsewhere:  # a browser test before may have left a loop in this thread
        seen = elsewhere.submit(lambda: asyncio.run(both())).result()
    assert seen.rate > 4
    assert (seen.failed, seen.held) == (0, 3)
