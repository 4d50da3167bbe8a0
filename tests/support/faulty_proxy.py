"""A TCP proxy whose first connection fails after a number of bytes from the server.

Usage: python -m support.faulty_proxy TARGET_PORT BYTES cut|stall

Prints its port. `cut` closes the first connection, `stall` keeps it open and forwards nothing more. All
later connections are forwarded completely. Ends with its standard input.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

PIECE = 4096


class Proxy:
    """The connections, and the fault that is left for the first one."""

    def __init__(self, target_port: int, limit: int, does_stall: bool) -> None:
        self._target_port = target_port
        self._limit: int | None = limit
        self._does_stall = does_stall

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        limit, self._limit = self._limit, None
        back, forth = await asyncio.open_connection("127.0.0.1", self._target_port)
        ways = [self._forward(reader, forth, None), self._forward(back, writer, limit)]
        tasks = [asyncio.create_task(way) for way in ways]
        # The end of one way is the end of the connection.
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for stream in (writer, forth):
            stream.close()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int | None
    ) -> None:
        forwarded = 0
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(PIECE):
                if limit is not None and forwarded + len(piece) > limit:
                    if self._does_stall:
                        await asyncio.Event().wait()
                    return
                writer.write(piece)
                await writer.drain()
                forwarded += len(piece)


async def serve(target_port: int, limit: int, fault: str) -> None:
    proxy = Proxy(target_port, limit, fault == "stall")
    server = await asyncio.start_server(proxy.handle, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    # Runs until the parent process closes the pipe or ends.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
