#!/bin/sh
# Style, types and the direction of imports. `setup.sh dev` comes first.
set -eu
cd "$(dirname "$0")/.."
PATH="$(pwd)/.venv/bin:$PATH"
python -m ruff check --quiet .
python -m ruff format --check --quiet . || { echo "Run: .venv/bin/ruff format ." >&2; exit 1; }
# The slow one has a core of its own.
python -m mypy . &
types=$!
report=$(lint-imports --no-cache 2>&1) || { printf '%s\n' "$report" >&2; kill "$types"; exit 1; }
node_modules/.bin/tsc --project clients/js --noEmit || { kill "$types"; exit 1; }
wait "$types"
