#!/bin/sh
# launch.sh CODE-FOLDER: starts the server on what build.sh made there, as a plain process or in a container.
set -eu
TREADLE_CODE=$(CDPATH='' cd -- "$1" && pwd)
export TREADLE_CODE
cd "$TREADLE_CODE"
arguments=.treadle/java.args
if [ -n "${TREADLE_DEPENDENCIES:-}" ] && ! [ ../dependencies -ef "$TREADLE_DEPENDENCIES" ]; then
  arguments=$(mktemp)
  sed "s|:\.\./dependencies/|:$TREADLE_DEPENDENCIES/|g" .treadle/java.args >"$arguments"
fi
exec "${JAVA_HOME:-/usr/lib/jvm/java-17-openjdk-amd64}/bin/java" "@$arguments" -XX:+UseSerialGC -Xshare:auto -Xlog:disable -Xlog:all=off -Xss1m -Xmx256m \
  -Djdk.nio.maxCachedBufferSize=65536 -Dtreadle.entrypoint="${TREADLE_DEFAULT_ENTRYPOINT:-Main.java}" treadle.Main
