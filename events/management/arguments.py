"""Types of command line arguments."""

from argparse import ArgumentTypeError
from collections.abc import Callable
from math import isfinite


def positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    """For `add_argument(type=…)`: a number of this kind above 0."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            raise ArgumentTypeError(f"{text!r} is not a number") from None
        if not (value > 0 and isfinite(value)):
            raise ArgumentTypeError(f"{text} is not above 0")
        return value

    return parse
