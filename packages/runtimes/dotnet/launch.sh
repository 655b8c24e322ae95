#!/bin/sh
# launch.sh CODE-FOLDER: starts the server that build.sh made there, as a plain process or in a container.
set -eu
TREADLE_CODE=$(CDPATH='' cd -- "$1" && pwd)
export TREADLE_CODE
cd "$TREADLE_CODE"
exec mono "$TREADLE_CODE/.treadle/treadle-runtime.exe"
