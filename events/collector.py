"""Python's garbage collector, set for a process that makes very many short-lived objects and hardly a cycle."""

import gc
from typing import Final

#: Objects that are new and still there before the new ones are looked at. Python's own 700 are a fraction of what a step makes.
YOUNG: Final = 50_000


def search_rarely() -> None:
    """Wait for more new objects before they are looked at."""
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])


def settle() -> None:
    """To be called once, when a process has loaded what it runs on: all of that is never looked at again.

    Each look at everything takes tens of milliseconds, in which nothing else happens.
    """
    gc.collect()
    gc.freeze()
    search_rarely()
