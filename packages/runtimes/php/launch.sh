#!/bin/sh
# Starts the runtime server as a plain process: launch.sh CODE-FOLDER. PHP: TREADLE_PHP, or the PATH's.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
TREADLE_CODE=$(CDPATH='' cd -- "${1:?usage: launch.sh CODE-FOLDER}" && pwd)
export TREADLE_CODE
exec "${TREADLE_PHP:-php}" "$here/server/main.php"
