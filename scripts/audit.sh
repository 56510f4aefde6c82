#!/bin/sh
# Asks the package indexes for known vulnerabilities of every pinned package. Needs the network. What is listed under IGNORED is
# known and does not concern this project; each line says why.
set -eu
cd "$(dirname "$0")/.."
PATH="$(pwd)/.venv/bin:$PATH"

# None now. A line is: <id of the advisory>  # why it does not concern this project
IGNORED=

failed=0
for name in requirements requirements-dev; do
    # shellcheck disable=SC2086
    pip-audit --progress-spinner off --disable-pip --require-hashes ${IGNORED:+--ignore-vuln $IGNORED} -r "$name.txt" || failed=1
done
npm audit --package-lock-only || failed=1
exit "$failed"
