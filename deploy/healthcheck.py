"""Asks the server of this container whether it is healthy; the exit code is the answer.

Does not load Django: it runs every few seconds and must cost next to nothing.
"""

import sys
from pathlib import Path
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

from wsproject.env import load

#: Shorter than the 5 s that the container runtime waits.
TIMEOUT_S: Final = 4.0


def main() -> int:
    env = load(Path(__file__).resolve().parent.parent)
    host, port = env.text("WS_HOST", "0.0.0.0"), env.integer("WS_PORT", 8001, 1, 65_535)
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
    try:
        with urlopen(f"http://{everywhere.get(host, host)}:{port}/health", timeout=TIMEOUT_S):
            return 0
    except (URLError, OSError) as error:
        print(f"unhealthy: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
