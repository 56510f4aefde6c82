"""The JavaScript client as a package: its size, and its types."""

import gzip
import os
import subprocess
from typing import Final

import pytest

from tests.conftest import ROOT

PACKAGE: Final = ROOT / "clients" / "js"
TOOLS: Final = ROOT / "node_modules" / ".bin"

#: Bytes of the whole client with its React hooks, minified and compressed, without socket.io-client and React.
MAX_BYTES: Final = 6 * 1024


def run(*argv: str) -> subprocess.CompletedProcess[bytes]:
    if not (TOOLS / "tsc").exists():
        pytest.fail("These tests need the packages for development: run `./scripts/setup.sh dev`.")
    environment = {"PATH": os.environ["PATH"]}
    return subprocess.run(argv, cwd=PACKAGE, env=environment, capture_output=True, check=False, timeout=60)


def test_it_is_small() -> None:
    external = [f"--external:{name}" for name in ("socket.io-client", "react")]
    done = run(str(TOOLS / "esbuild"), "src/react.js", "--bundle", "--minify", "--format=esm", *external)
    assert done.returncode == 0, done.stderr
    assert 1_000 < len(gzip.compress(done.stdout)) < MAX_BYTES


def test_its_types_hold_what_they_promise() -> None:
    """Built as for a release, and used from a program in TypeScript."""
    done = run("npm", "run", "build", "--silent")
    assert done.returncode == 0, done.stdout
    options = (
        "--strict",
        "--noEmit",
        "--module",
        "nodenext",
        "--target",
        "es2022",
        "--lib",
        "es2022,dom",
        "--skipLibCheck",
        "false",
    )
    done = run(str(TOOLS / "tsc"), "--ignoreConfig", *options, "test/types.ts")
    assert done.returncode == 0, done.stdout
