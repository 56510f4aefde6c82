"""One port for several server processes, with the client's address deciding which of them it reaches.

A long-polling session is many requests, and all of them have to reach the process that holds it. So the sockets that share
the port (SO_REUSEPORT) get a small program with which the kernel picks one of them: always the same one for an address.
"""

import ctypes
import socket
import struct
import sys
from typing import Final

#: Linux 4.5. Python has no name for it.
_SO_ATTACH_REUSEPORT_CBPF: Final = 51

# Instructions of classic BPF that the program is made of.
_LOAD_BYTE: Final = 0x30
_LOAD_WORD: Final = 0x20
_AND: Final = 0x54
_IF_EQUAL: Final = 0x15
_JUMP: Final = 0x05
_TO_X: Final = 0x07
_XOR_X: Final = 0xAC
_MULTIPLY: Final = 0x24
_SHIFT_RIGHT: Final = 0x74
_MODULO: Final = 0x94
_RETURN_A: Final = 0x16

#: Where the packet's IP header begins, in the kernel's way of saying so.
_IP_HEADER: Final = 0xFFF0_0000

#: Neighbouring addresses are to reach different processes, also when all of them are even: Knuth's multiplicative hash.
_GOLDEN: Final = 0x9E37_79B1

Instruction = tuple[int, int, int, int]


class CannotShare(Exception):
    """The port cannot be shared; the message says why, and what to do."""


def shared_listeners(host: str, port: int, count: int, backlog: int) -> list[socket.socket]:
    """Listening sockets, one per process. All of them have to stay open: the program knows them by their number.

    Port 0 takes any free one. Raises `CannotShare`.
    """
    if not sys.platform.startswith("linux"):
        raise CannotShare(f"Several workers on one port need Linux. {_OTHER_WAY}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listeners: list[socket.socket] = []
    try:
        _check_free(family, host, port)
        for _ in range(count):
            listeners.append(_bound(family, host, port))
            port = listeners[0].getsockname()[1]
        for listener in listeners:
            listener.listen(backlog)
        _attach(listeners[0], _program(count))
    except OSError as error:
        for listener in listeners:
            listener.close()
        raise CannotShare(f"Cannot listen on {host}:{port}: {error.strerror or error}. {_MEND}") from error
    return listeners


_OTHER_WAY: Final = (
    "Start several servers instead, each with a port of its own (serve --port 8001, serve --port 8002), behind a proxy that "
    "picks one by the client's address, as deploy/nginx.conf does."
)
_MEND: Final = "Stop what uses the port, or choose another one: --port 8002 (WS_PORT)."


def _check_free(family: int, host: str, port: int) -> None:
    """Others that share their port would share it with us as well, and get some of our clients."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def _bound(family: int, host: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((host, port))
    listener.setblocking(False)
    return listener


def _attach(listener: socket.socket, program: list[Instruction]) -> None:
    """Give the program to all sockets that share the port."""
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    try:
        listener.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, struct.pack("HP", len(program), ctypes.addressof(buffer))
        )
    except OSError as error:
        raise CannotShare(f"This system cannot share a port by the client's address: {error.strerror}. {_OTHER_WAY}") from error


def _program(count: int) -> list[Instruction]:
    """Number of the socket for a client: a hash of its address, modulo their count.

    A socket for IPv6 hears IPv4 as well, so the packet's own version tells what to read.
    """
    version_6 = [
        (_LOAD_WORD, 0, 0, _IP_HEADER + 8),
        *((step, 0, 0, k) for at in (12, 16, 20) for step, k in ((_TO_X, 0), (_LOAD_WORD, _IP_HEADER + at), (_XOR_X, 0))),
    ]
    version_4 = [(_LOAD_WORD, 0, 0, _IP_HEADER + 12), (_JUMP, 0, 0, len(version_6))]
    return [
        (_LOAD_BYTE, 0, 0, _IP_HEADER),
        (_AND, 0, 0, 0xF0),
        (_IF_EQUAL, 0, len(version_4), 0x40),
        *version_4,
        *version_6,
        (_MULTIPLY, 0, 0, _GOLDEN),
        (_SHIFT_RIGHT, 0, 0, 16),
        (_MODULO, 0, 0, count),
        (_RETURN_A, 0, 0, 0),
    ]
