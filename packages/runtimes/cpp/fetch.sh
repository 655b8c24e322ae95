#!/bin/sh
# Compiles the server into the dependency layer: the same for every function, and most of the time that a build would take.
set -eu
dependencies=${TREADLE_DEPENDENCIES:-/dependencies}
here=$(cd "$(dirname "$0")" && pwd)
server=${TREADLE_RUNTIME:-$here/server}
. "$here/flags.sh"
mkdir "$dependencies/objects"
compile_server "$dependencies/objects"
