#!/bin/sh
# Starts the runtime server as a plain process: launch.sh CODE-FOLDER. Deno: TREADLE_DENO, the set-up's, or the PATH's.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
for fetched in "$here"/../../../.tools/deno-*/deno; do [ -x "$fetched" ] && break; fetched=deno; done
TREADLE_CODE=$(CDPATH="" cd -- "${1:?usage: launch.sh CODE-FOLDER}" && pwd)
export TREADLE_CODE
config=--no-config
for folder in "$TREADLE_CODE" "${TREADLE_DEPENDENCIES:-$TREADLE_CODE}"; do
  for name in deno.json deno.jsonc; do [ -f "$folder/$name" ] && config="--config=$folder/$name"; done
done
export NO_COLOR=1 DENO_NO_UPDATE_CHECK=1
exec "${TREADLE_DENO:-$fetched}" run --allow-all --no-code-cache "$config" "$here/server/main.js"
