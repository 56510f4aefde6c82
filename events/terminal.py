"""Texts of others on a terminal."""

import re
from typing import Final

#: What could steer a terminal, or have text appear in another order than it has.
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def clean(value: object) -> str:
    """A text that only shows itself."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", str(value))
