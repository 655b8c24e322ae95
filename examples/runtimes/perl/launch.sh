#!/bin/sh
# launch.sh CODE-FOLDER: starts the server as a plain process or in a container.
set -eu
server=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)/server
TREADLE_CODE=$(CDPATH='' cd -- "$1" && pwd)
export TREADLE_CODE
exec perl "-I$server" "$server/start.pl"
