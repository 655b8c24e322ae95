#!/bin/sh
# Compiles the server of the Java runtime, its Kotlin part with the user's sources (Kotlin, then Java), and archives the classes that a start needs.
set -eu
source=${TREADLE_SOURCE:-/source}
dependencies=${TREADLE_DEPENDENCIES:-/dependencies}
artifact=${TREADLE_ARTIFACT:-/artifact}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
java=$here/../java
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export JAVA_HOME="${JAVA_HOME:-/usr/lib/jvm/java-17-openjdk-amd64}"
export JDK_JAVAC_OPTIONS="-J-Xshare:auto -J-XX:TieredStopAtLevel=1 -J-XX:+UseSerialGC -J-Xmx768m -encoding UTF-8"

cp -R "$source/." "$artifact/"
rm -rf "$artifact/.treadle"
mkdir -p "$artifact/.treadle" "$work/server" "$work/user"

jars="" classpath=""
for jar in "$dependencies"/jars/*.jar; do
  jars="$jars:../dependencies/jars/${jar##*/}"
  classpath="$classpath:$jar"
done
compiler=""
for jar in "$dependencies"/compiler/*.jar; do compiler="$compiler:$jar"; done

find "$java/server" -name '*.java' >"$work/server-sources"
"$JAVA_HOME/bin/javac" -nowarn -proc:none -XDignore.symbol.file -d "$work/server" "@$work/server-sources"
list() { (cd "$source" && find . -name "*.$1" ! -path './.treadle/*') | sed "s|^\./\(.*\)|\"$source/\1\"|"; }
list kt >"$work/kotlin-sources"
list java >"$work/java-sources"
if [ ! -s "$work/kotlin-sources" ]; then
  echo "There is no .kt file in the source." >&2
  exit 1
fi
{
  echo "-no-stdlib -no-reflect -jvm-target 17 -d \"$work/user\" -cp \"$work/server$classpath\""
  find "$here/server" -name '*.kt'
  cat "$work/kotlin-sources" "$work/java-sources"
} >"$work/arguments"
"$JAVA_HOME/bin/java" -XX:+UseSerialGC -Xmx768m -Xss8m -cp "${compiler#:}" org.jetbrains.kotlin.cli.jvm.K2JVMCompiler "@$work/arguments"
if [ -s "$work/java-sources" ]; then
  "$JAVA_HOME/bin/javac" -cp "$work/server:$work/user$classpath" -d "$work/user" "@$work/java-sources"
fi
[ ! -d "$source/src/main/resources" ] || cp -R "$source/src/main/resources/." "$work/user/"
"$JAVA_HOME/bin/jar" -J-XX:TieredStopAtLevel=1 -J-XX:+UseSerialGC -c -f "$artifact/.treadle/server.jar" -C "$work/server" .
"$JAVA_HOME/bin/jar" -J-XX:TieredStopAtLevel=1 -J-XX:+UseSerialGC -c -f "$artifact/.treadle/user.jar" -C "$work/user" .

. "$java/archive.sh"
