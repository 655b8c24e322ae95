#!/bin/sh
# Puts the jars that `pom.xml` or `dependencies.txt` asks for into /dependencies/jars. Without either there is nothing to fetch.
set -eu
source=${TREADLE_SOURCE:-/source}
dependencies=${TREADLE_DEPENDENCIES:-/dependencies}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
export JAVA_HOME="${JAVA_HOME:-/usr/lib/jvm/java-17-openjdk-amd64}"
[ -e "$source/pom.xml" ] || [ -e "$source/dependencies.txt" ] || exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. "$here/maven.sh"

"$JAVA_HOME/bin/java" -XX:TieredStopAtLevel=1 "$here/MinimalPom.java" "$source" "$work/pom.xml"
mkdir -p "$dependencies/jars"
copy_jars "$work/pom.xml" "$dependencies/jars"
# Time 0: the archive of classes, made by the build, then does not ask for the time.
touch -d @0 "$dependencies"/jars/*.jar
(cd "$dependencies/jars" && find . -name '*.jar' | sort | while read -r jar; do sha256sum "$jar"; done) >"$work/sums"
cat "$dependencies/jars.list" "$work/sums" >"$dependencies/lock"
rm "$dependencies/jars.list"
cat "$dependencies/lock"
