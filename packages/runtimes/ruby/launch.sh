#!/bin/sh
# Starts the runtime server as a plain process: launch.sh CODE-FOLDER. Ruby: TREADLE_RUBY, or the PATH's.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
TREADLE_CODE=$(CDPATH='' cd -- "${1:?usage: launch.sh CODE-FOLDER}" && pwd)
export TREADLE_CODE
exec "${TREADLE_RUBY:-ruby}" --disable-gems -Eutf-8 "$here/server/main.rb"
