#!/bin/sh
# Fetches the packages of a function's package.json: TREADLE_SOURCE -> TREADLE_DEPENDENCIES. Without one there is nothing to do.
set -eu
[ -f "${TREADLE_SOURCE:-/source}/package.json" ] || exit 0
case $0 in */*) here=${0%/*} ;; *) here=. ;; esac
for bun in "${TREADLE_BUN:-}" "$here"/../../../.tools/bun-*/bin/bun /usr/bin/bun bun; do [ -x "$bun" ] && break; done
exec "$bun" run --no-install "$here/fetch.js"
