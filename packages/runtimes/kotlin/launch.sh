#!/bin/sh
# launch.sh CODE-FOLDER: starts the server on what build.sh made there, as a plain process or in a container.
TREADLE_DEFAULT_ENTRYPOINT=Main.kt exec "$(dirname -- "$0")/../java/launch.sh" "$1"
