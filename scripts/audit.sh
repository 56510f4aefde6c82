#!/bin/sh
# Asks the package indexes for known vulnerabilities of every pinned package. Needs the network. What is listed under IGNORED is
# known and does not concern this project; SECURITY.md says why, for each. A package that could not be asked about is a failure.
set -eu
cd "$(dirname "$0")/.."
PATH="$(pwd)/.venv/bin:$PATH"

# Identifiers of advisories, separated by spaces. None now.
IGNORED=

options=
for advisory in $IGNORED; do
    options="$options --ignore-vuln $advisory"
done

failed=0
for name in requirements-dev requirements-node; do
    # shellcheck disable=SC2086
    pip-audit --strict --progress-spinner off --disable-pip --require-hashes $options -r "$name.txt" || failed=1
done
npm audit --package-lock-only || failed=1
exit "$failed"
