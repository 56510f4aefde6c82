#!/bin/sh
# Makes a checkout ready: the virtual environment .venv with pinned packages, and the browser's packages in node_modules.
# `setup.sh dev` adds what tests and checks need. What is done already is not done again. PYTHON names the interpreter.
set -eu
cd "$(dirname "$0")/.."

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' </dev/null >/dev/null 2>&1
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        is_new_enough "$PYTHON" || fail "PYTHON=$PYTHON is not a Python 3.11 or newer."
        printf '%s\n' "$PYTHON"
        return
    fi
    for candidate in python3.11 python3.12 python3.13 python3 python; do
        if is_new_enough "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    fail "Python 3.11 or newer is needed and was not found. Install it, or name it: make PYTHON=/path/to/python3.11"
}

make_venv() {
    if is_new_enough .venv/bin/python && [ -x .venv/bin/pip ]; then
        return
    fi
    python=$(find_python)
    "$python" -c 'import ensurepip, venv' >/dev/null 2>&1 ||
        fail "$python cannot make virtual environments. Install its venv package (Debian, Ubuntu: apt-get install python3-venv)."
    "$python" -m venv --clear .venv || fail "the virtual environment .venv could not be made."
}

# Python 3.11 puts a setuptools of its own age into every environment. Nothing here uses it, and it has known vulnerabilities.
remove_setuptools() {
    [ -z "$(find .venv/lib -maxdepth 3 -name setuptools)" ] || .venv/bin/python -m pip uninstall -qq --yes setuptools
}

# The stamp of a step holds the checksum of what it was made from; it is written when the step has succeeded.
is_done() {
    [ "$(cat ".venv/stamp-$1" 2>/dev/null)" = "$2" ]
}

# Nothing has to be resolved: the files name all that is needed. What is never loaded is never compiled.
pip_install() {
    .venv/bin/python -m pip install -qq --disable-pip-version-check --no-input --no-deps --no-compile "$@" </dev/null ||
        fail "packages could not be installed; pip says above why."
}

# Of the many packages for development pip takes a minute to choose the files, uv seconds. Where only pip is told which index
# to ask, and where uv does not get on, pip does it.
uv_install() {
    ! .venv/bin/python -m pip config list | grep -Eq '\.(index-url|no-index|proxy)=' || return
    sed -n '/^uv==/,/[^\\]$/p' requirements-dev.txt >.venv/uv.txt
    pip_install --require-hashes -r .venv/uv.txt
    .venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps "$@" </dev/null 2>/dev/null
}

# Those for development include the server's own.
install_python_packages() {
    sum=$(cksum <"$1.txt")
    is_done "$1" "$sum" && return
    echo "Installing Python packages ($1) ..."
    { [ "$1" = requirements-dev ] && uv_install --require-hashes -r "$1.txt"; } || pip_install --require-hashes -r "$1.txt"
    printf '%s\n' "$sum" >".venv/stamp-$1"
}

# The Python client is part of the project and changes with it, so the virtual environment looks into its folder.
install_python_client() {
    sum=$(cat clients/python/pyproject.toml | cksum)
    is_done client "$sum" && return
    pip_install --no-build-isolation --editable clients/python
    printf '%s\n' "$sum" >.venv/stamp-client
}

has_npm() {
    version=$(npm --version 2>/dev/null </dev/null) && [ "${version%%.*}" -ge 7 ] 2>/dev/null
}

# Packages for the browser; with `dev` also those that build and test the JavaScript client, which include the others.
install_browser_packages() {
    sum=$(cat package.json package-lock.json .npmrc | cksum)
    is_done npm-dev "$sum" || { [ -z "$1" ] && is_done npm "$sum"; } && [ -d node_modules/socket.io-client/dist ] && return
    echo "Installing browser packages ..."
    has_npm || pip_install --require-hashes -r requirements-node.txt
    omit=$([ -n "$1" ] || echo --omit=dev)
    # Without packages to leave out there is no argument.
    # shellcheck disable=SC2086
    npm ci --ignore-scripts --loglevel=error $omit </dev/null >/dev/null ||
        fail "browser packages could not be installed; npm says above why."
    rm -f .venv/stamp-npm .venv/stamp-npm-dev
    printf '%s\n' "$sum" >".venv/stamp-npm${1:+-dev}"
}

[ -w . ] && mkdir -p .venv 2>/dev/null && [ -w .venv ] || fail "the folder $(pwd) is not writable, or .venv in it is not a folder."
make_venv
remove_setuptools
PATH="$(pwd)/.venv/bin:$PATH"
install_python_packages "requirements${1:+-$1}"
install_python_client
install_browser_packages "${1:-}"
