#!/bin/sh
# Fetches the packages that a function's manifest names: TREADLE_SOURCE -> TREADLE_DEPENDENCIES. Without a manifest there is nothing to do.
set -eu
source="${TREADLE_SOURCE:-/source}"
[ -f "$source/deno.json" ] || [ -f "$source/deno.jsonc" ] || [ -f "$source/package.json" ] || exit 0
case $0 in */*) here=${0%/*} ;; *) here=. ;; esac
for deno in "${TREADLE_DENO:-}" "$here"/../../../.tools/deno-*/deno /usr/bin/deno deno; do [ -x "$deno" ] && break; done
exec "$deno" run --allow-all --no-config --no-lock "$here/fetch.js"
