"""Where things are."""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
BENCH: Final = ROOT / "bench"

#: Made by scripts/bench.sh; not in the repository.
BUILD: Final = BENCH / "build"
LOAD_CLIENT: Final = BUILD / "wsload"

PEERS: Final = BENCH / "peers"

#: The page and the charts that the full run writes, and the raw results that they were made from.
PAGE: Final = ROOT / "docs" / "performance.md"
CHARTS: Final = ROOT / "docs" / "img" / "performance"
RESULTS: Final = BENCH / "results" / "latest.jsonl"
