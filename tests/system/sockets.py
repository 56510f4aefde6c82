"""Raw ways in, for what no client library would send: bytes on a TCP connection, and WebSocket frames by hand."""

import asyncio
import base64
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.system.stack import DEADLINE_S, Server

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


class RawSocket:
    """A WebSocket whose frames are made by hand. Reads frames of servers, which are whole and unmasked."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def write(self, opcode: int, payload: bytes, *, final: bool = True, masked: bool = True, reserved: int = 0) -> None:
        """Put one frame on the connection, well-formed or not."""
        head = bytes([(0x80 if final else 0) | reserved << 4 | opcode])
        size, mask_bit = len(payload), 0x80 if masked else 0
        if size < 126:
            head += bytes([mask_bit | size])
        elif size < 65_536:
            head += struct.pack("!BH", mask_bit | 126, size)
        else:
            head += struct.pack("!BQ", mask_bit | 127, size)
        self.writer.write(head + (_masked(payload) if masked else payload))

    async def read(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame. Raises `IncompleteReadError` at the end, `ConnectionError` on a reset."""
        async with asyncio.timeout(DEADLINE_S):
            first, second = await self.reader.readexactly(2)
            size = second & 0x7F
            if size == 126:
                size = struct.unpack("!H", await self.reader.readexactly(2))[0]
            elif size == 127:
                size = struct.unpack("!Q", await self.reader.readexactly(8))[0]
            return first & 0x0F, await self.reader.readexactly(size)

    async def read_text(self) -> str:
        opcode, payload = await self.read()
        assert opcode == TEXT, (opcode, payload)
        return payload.decode()

    async def read_to_end(self) -> list[tuple[int, bytes]]:
        """All frames until the server ends the connection; its close frame is answered, for some servers wait for that."""
        frames = []
        try:
            while True:
                frames.append(await self.read())
                if frames[-1][0] == CLOSE:
                    self.write(*frames[-1])
        except (asyncio.IncompleteReadError, ConnectionError):
            return frames


def _masked(payload: bytes) -> bytes:
    """The mask and the payload under it, as two large numbers: byte by byte a megabyte takes seconds on a busy machine."""
    mask, size = os.urandom(4), len(payload)
    key = int.from_bytes((mask * (size // 4 + 1))[:size])
    return mask + (int.from_bytes(payload) ^ key).to_bytes(size)


@asynccontextmanager
async def tcp(
    port: int, address: str = "127.0.0.1", limit: int = 2**24
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection from this address, of which about `limit` bytes are read ahead; a server that has already closed it is no
    error."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=limit, local_addr=(address, 0))
    try:
        yield reader, writer
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except ConnectionError:
            pass


@asynccontextmanager
async def raw_websocket(server: Server, path: str) -> AsyncIterator[RawSocket]:
    """A WebSocket after its handshake."""
    async with tcp(server.port) as (reader, writer):
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        async with asyncio.timeout(DEADLINE_S):
            answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101"), answer
        yield RawSocket(reader, writer)
