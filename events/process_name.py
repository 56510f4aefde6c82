"""What this operating system process is called: in its log, in metrics and in the admin."""

import os
import secrets
import socket


def unique() -> str:
    """A name that is readable, and never used twice."""
    return f"{place()}:{secrets.token_hex(2)}"


def place() -> str:
    """The machine and the process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


class ProcessName:
    """The name that lines of the log carry: the place, until a server or relay process has taken a name of its own."""

    def __init__(self) -> None:
        self._taken = ""

    def take(self, name: str) -> None:
        self._taken = name

    def __str__(self) -> str:
        return self._taken or place()


this_process = ProcessName()
