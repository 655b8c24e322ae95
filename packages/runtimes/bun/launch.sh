#!/bin/sh
# Starts the runtime server as a plain process: launch.sh CODE-FOLDER. Bun: TREADLE_BUN, the set-up's, or the PATH's.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
for fetched in "$here"/../../../.tools/bun-*/bin/bun; do [ -x "$fetched" ] && break; fetched=bun; done
TREADLE_CODE=$(CDPATH="" cd -- "${1:?usage: launch.sh CODE-FOLDER}" && pwd)
export TREADLE_CODE
[ -z "${TREADLE_DEPENDENCIES:-}" ] || export NODE_PATH="$TREADLE_DEPENDENCIES/node_modules"
export NO_COLOR=1 BUN_RUNTIME_TRANSPILER_CACHE_PATH=0
exec "${TREADLE_BUN:-$fetched}" run --no-install "$here/server/main.js"
