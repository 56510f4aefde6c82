#!/bin/sh
# Installs what tests need, then runs all tests and beside them all checks. PYTEST_ARGS goes to pytest.
set -eu
cd "$(dirname "$0")/.."

missing=
for tool in redis-server chromium nginx; do
    command -v "$tool" >/dev/null 2>&1 || [ -x "/usr/sbin/$tool" ] || missing="$missing $tool"
done
# The package brings promtool, which looks at the alert rules; the server itself is not started.
command -v promtool >/dev/null 2>&1 || missing="$missing prometheus"
# Compiles the benchmark's load client.
command -v cc >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "test: the tests need these programs, please install them:$missing" >&2
        exit 1
    fi
    echo "Installing$missing ..."
    # The package names are those of the programs, so the list may be split into words.
    # shellcheck disable=SC2086
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing; } \
        </dev/null >/dev/null || { echo "test: apt-get could not install:$missing" >&2; exit 1; }
fi

./scripts/setup.sh dev

# Tests choose their own settings: what the shell or a .env file says must not change a result.
for name in $(sed -n 's/^#\{0,1\}\([A-Z][A-Z0-9_]*\)=.*/\1/p' .env.example); do
    unset "$name"
done
export ENV_FILE=
# The tests start hundreds of programs, which need not compile the project each time.
unset PYTHONDONTWRITEBYTECODE
PATH="$(pwd)/.venv/bin:$PATH:/usr/sbin"

# The checks take the time in which the tests wait.
nice ./scripts/check.sh &
checks=$!
failed=0
# In a fresh checkout one process compiles what is loaded; else each worker would, all at the same time.
[ -d tests/__pycache__ ] || python -m pytest --collect-only -qq </dev/null >/dev/null 2>&1 || true
# One worker more than a small machine has cores, as many tests wait; a file's tests share the servers that they start, and so
# do the files of a folder where they come one after the other.
# shellcheck disable=SC2086
python -m pytest ${PYTEST_ARGS:--n 3 --dist loadfile --no-loadscope-reorder} </dev/null || failed=$?
wait "$checks" || { echo "test: the checks failed, see above." >&2; failed=1; }
exit "$failed"
