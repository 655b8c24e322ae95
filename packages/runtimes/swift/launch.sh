#!/bin/sh
# Starts the function in CODE-FOLDER (what build.sh made) as a plain process: launch.sh CODE-FOLDER
code=$(cd "$1" && pwd)
TREADLE_CODE=$code exec "$code/server"
