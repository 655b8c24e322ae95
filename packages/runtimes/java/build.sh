#!/bin/sh
# Compiles the server and the user's sources, and archives the classes that a start needs.
# TREADLE_SERVER: folder of the server's sources. JAVA_HOME: the JDK.
set -eu
source=${TREADLE_SOURCE:-/source}
dependencies=${TREADLE_DEPENDENCIES:-/dependencies}
artifact=${TREADLE_ARTIFACT:-/artifact}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
server=${TREADLE_SERVER:-$here/server}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export JAVA_HOME="${JAVA_HOME:-/usr/lib/jvm/java-17-openjdk-amd64}"
# Two short-lived compilers: without the archive and the second compiler stage their start is most of their time.
export JDK_JAVAC_OPTIONS="-J-Xshare:auto -J-XX:TieredStopAtLevel=1 -J-XX:+UseSerialGC -J-Xmx768m -encoding UTF-8"

cp -R "$source/." "$artifact/"
rm -rf "$artifact/.treadle"
mkdir -p "$artifact/.treadle" "$work/server" "$work/user"

jars="" classpath=""
if [ -d "$dependencies/jars" ]; then
  for jar in "$dependencies"/jars/*.jar; do
    [ -e "$jar" ] || continue
    jars="$jars:../dependencies/jars/${jar##*/}"
    classpath="$classpath:$jar"
  done
fi

find "$server" -name '*.java' >"$work/server-sources"
"$JAVA_HOME/bin/javac" -nowarn -proc:none -XDignore.symbol.file -d "$work/server" "@$work/server-sources"
(cd "$source" && find . -name '*.java' ! -path './.treadle/*') | sed "s|^\./\(.*\)|\"$source/\1\"|" >"$work/user-sources"
if [ ! -s "$work/user-sources" ]; then
  echo "There is no .java file in the source." >&2
  exit 1
fi
"$JAVA_HOME/bin/javac" -cp "$work/server$classpath" -d "$work/user" "@$work/user-sources"
[ ! -d "$source/src/main/resources" ] || cp -R "$source/src/main/resources/." "$work/user/"
"$JAVA_HOME/bin/jar" -J-XX:TieredStopAtLevel=1 -J-XX:+UseSerialGC -c -f "$artifact/.treadle/server.jar" -C "$work/server" .
"$JAVA_HOME/bin/jar" -J-XX:TieredStopAtLevel=1 -J-XX:+UseSerialGC -c -f "$artifact/.treadle/user.jar" -C "$work/user" .

. "$here/archive.sh"
