#!/bin/sh
# Makes requirements.txt and the others from the .in files: every package that is needed, with its exact version and the hashes of
# its files. What is there keeps its version where it fits; UPGRADE=1 takes the newest ones.
set -eu
cd "$(dirname "$0")/.."
for name in requirements requirements-dev requirements-uvicorn requirements-node bench/requirements; do
    # --universal: the same file serves every system and every supported Python.
    .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes ${UPGRADE:+--upgrade} \
        --no-header --no-emit-index-url --no-annotate "$name.in" --output-file "$name.txt"
done
