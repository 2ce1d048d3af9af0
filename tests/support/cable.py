"""Carries every connection to one loopback port on to another.

Run as `python cable.py FROM_PORT TO_PORT`. A process of its own, so that a test can hold what it carries (SIGSTOP):
neither end is told, as when a network swallows packets. What it holds is lost when it is killed.
"""

import asyncio
import sys

LOOPBACK = "127.0.0.1"
AT_ONCE_BYTES = 65_536


async def main(from_port: int, to_port: int) -> None:
    """Carries until it is ended."""

    async def carry_both_ways(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(LOOPBACK, to_port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer))

    server = await asyncio.start_server(carry_both_ways, LOOPBACK, from_port)
    await server.serve_forever()


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Everything was carried one way; then, or when either end breaks, the other end is told."""
    try:
        while data := await reader.read(AT_ONCE_BYTES):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
