#!/bin/sh
# launch.sh CODE-FOLDER: the runtime server as a plain process, or in a container (HTTP.md names its settings).
export TREADLE_CODE="${1:-${TREADLE_CODE:-/usr/local/server/src/function}}"
exec node --experimental-vm-modules --disable-warning=ExperimentalWarning "$(dirname "$0")/server/main.cjs" http
