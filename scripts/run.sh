#!/bin/sh
# Sets up what is missing and serves. Ctrl-C goes to the server itself.
set -eu
cd "$(dirname "$0")/.."
./scripts/setup.sh

# Something should be seen: demo events, unless they are turned off or the server is for production.
if [ "${ENV:-development}" != production ] && ! grep -Eqs '^(DEMO=.|ENV=.?production)' .env; then
    export DEMO="${DEMO:-1}"
fi

.venv/bin/python manage.py bootstrap
exec .venv/bin/python manage.py serve
