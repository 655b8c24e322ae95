#!/bin/sh
# launch.sh CODE-FOLDER: the runtime server as a plain process, or in a container (HTTP.md names its settings).
export TREADLE_CODE="${1:-${TREADLE_CODE:-/usr/local/server/src/function}}"
exec "${TREADLE_PYTHON:-python3}" -I -S -X utf8 "$(dirname "$0")/server/start.py" http
