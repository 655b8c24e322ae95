#!/bin/sh
# Puts Kotlin's compiler into /dependencies/compiler, as pinned in compiler.sha256, and its standard library with the jars that `pom.xml` or `dependencies.txt`
# asks for into /dependencies/jars.
set -eu
source=${TREADLE_SOURCE:-/source}
dependencies=${TREADLE_DEPENDENCIES:-/dependencies}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
java=$here/../java
export JAVA_HOME="${JAVA_HOME:-/usr/lib/jvm/java-17-openjdk-amd64}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. "$java/maven.sh"

mkdir -p "$dependencies/compiler" "$dependencies/jars"
copy_jars "$here/compiler.pom.xml" "$dependencies/compiler"
(cd "$dependencies/compiler" && sha256sum --check --strict --quiet "$here/compiler.sha256")
rm "$dependencies/compiler.list"
if [ -e "$source/pom.xml" ] || [ -e "$source/dependencies.txt" ]; then
  standard=$(sed -n 's/.*kotlin-stdlib-\([0-9.]*\)\.jar$/org.jetbrains.kotlin:kotlin-stdlib:\1/p' "$here/compiler.sha256")
  "$JAVA_HOME/bin/java" -XX:TieredStopAtLevel=1 "$java/MinimalPom.java" "$source" "$work/pom.xml" "$standard"
  copy_jars "$work/pom.xml" "$dependencies/jars"
  rm "$dependencies/jars.list"
else
  cp "$dependencies/compiler/"*kotlin-stdlib-*.jar "$dependencies/jars/"
fi
# Time 0: the archive of classes, made by the build, then does not ask for the time.
touch -d @0 "$dependencies"/*/*.jar
(cd "$dependencies" && find compiler jars -name '*.jar' | sort | while read -r jar; do sha256sum "$jar"; done) >"$work/lock"
cp "$work/lock" "$dependencies/lock"
cat "$dependencies/lock"
