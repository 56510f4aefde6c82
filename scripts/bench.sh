#!/bin/sh
# Makes what the benchmark needs and runs it: `scripts/bench.sh ARGS` is `python -m bench ARGS`. What is made already is not
# made again; all of it is in bench/build and bench/node_modules.
set -eu
cd "$(dirname "$0")/.."
BUILD=bench/build

fail() {
    printf 'bench: %s\n' "$*" >&2
    exit 1
}

has() {
    command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]
}

# The peer nchan is a module of nginx; where there is none, the benchmark says so and runs without it.
install_programs() {
    missing=
    has cc || missing="$missing gcc libc6-dev"
    has redis-server || missing="$missing redis-server"
    [ -e /usr/lib/nginx/modules/ngx_nchan_module.so ] || missing="$missing nginx libnginx-mod-nchan"
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" = 0 ] && has apt-get; then
        echo "Installing$missing ..."
        # The list is meant to be split into words.
        # shellcheck disable=SC2086
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing; } \
            </dev/null >/dev/null || echo "bench: apt-get could not install:$missing" >&2
    fi
    has cc && has redis-server || fail "a C compiler and redis-server are needed (Debian: apt-get install gcc libc6-dev redis-server)."
}

# The stamp of a step holds the checksum of what it was made from; it is written when the step has succeeded.
is_done() {
    [ "$(cat "$BUILD/stamp-$1" 2>/dev/null)" = "$2" ]
}

install_python_packages() {
    sum=$(cksum <bench/requirements.txt)
    is_done python "$sum" && return
    echo "Installing the benchmark's Python packages ..."
    .venv/bin/python -m venv --clear "$BUILD/venv"
    "$BUILD/venv/bin/python" -m pip install -qq --disable-pip-version-check --no-input --require-hashes \
        -r bench/requirements.txt </dev/null || fail "packages could not be installed; pip says above why."
    printf '%s\n' "$sum" >"$BUILD/stamp-python"
}

install_node_packages() {
    sum=$(cat bench/package.json bench/package-lock.json | cksum)
    is_done node "$sum" && [ -d bench/node_modules/socket.io ] && return
    echo "Installing the Node peer's packages ..."
    (cd bench && npm ci --ignore-scripts --loglevel=error </dev/null >/dev/null) ||
        fail "the Node peer's packages could not be installed; npm says above why."
    printf '%s\n' "$sum" >"$BUILD/stamp-node"
}

./scripts/setup.sh
PATH="$(pwd)/.venv/bin:$PATH:/usr/sbin"
mkdir -p "$BUILD"
install_programs
install_python_packages
install_node_packages
cc -O2 -Wall -Wextra -Werror -o "$BUILD/wsload" bench/load/*.c || fail "the load client could not be compiled."
cc -O2 -Wall -Wextra -Werror -o "$BUILD/floor" bench/peers/floor.c || fail "bench/peers/floor.c could not be compiled."
exec "$BUILD/venv/bin/python" -m bench "$@"
